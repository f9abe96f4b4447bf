// Small helpers for the document. What a person wrote reaches it through `textContent` only.

const HUES = 6;

export const byId = (id) => document.getElementById(id);

export function element(tag, className, content = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = content;
  return made;
}

/** A button whose name a screen reader says, and that shows `sign`. */
export function button(className, sign, label, onClick) {
  const made = element('button', className, sign);
  made.type = 'button';
  if (label) {
    made.setAttribute('aria-label', label);
    made.title = label;
  }
  made.addEventListener('click', onClick);
  return made;
}

export function nameElement(user, className = 'author') {
  const made = element('span', className, user);
  made.dataset.hue = hue(user);
  made.dir = 'auto';
  return made;
}

export function timeElement(ms) {
  const at = new Date(ms);
  const today = at.toDateString() === new Date().toDateString();
  const day = today ? {} : { month: 'short', day: 'numeric' };
  const time = element('time', '', at.toLocaleString([], { ...day, hour: '2-digit', minute: '2-digit' }));
  time.dateTime = at.toISOString();
  time.title = at.toLocaleString();
  return time;
}

function hue(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 65_521;
  return sum % HUES;
}

/** Bytes of UTF-8, which is what the server counts, and not what `maxlength` counts. */
export function bytes(text) {
  return new TextEncoder().encode(text).length;
}
