// Small helpers for the document. What a person or the server wrote reaches it through `textContent` only.

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

/** A picture of one path, drawn by the page: no text can look the same. */
export function drawing(className, label, ...paths) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('class', className);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  for (const [kind, line] of paths) {
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('class', kind);
    path.setAttribute('d', line);
    svg.append(path);
  }
  return svg;
}

/** Bytes of UTF-8, which is what the server counts, and not what `maxlength` counts. */
export function bytes(text) {
  return new TextEncoder().encode(text).length;
}

/** A name within a sentence: its direction of writing cannot turn the sentence around. */
export function isolated(name) {
  return element('bdi', '', name);
}

/** Writes into a field in the place of what is selected there, as if it were typed: it can be undone. */
export function insert(field, text) {
  field.focus({ preventScroll: true });
  // The one way that the browser's own undo knows of.
  if (document.execCommand('insertText', false, text)) return;
  field.setRangeText(text, field.selectionStart, field.selectionEnd, 'end');
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
}

/** Makes an element say a sentence: a text, or a list of texts and names. */
export function say(shown, sentence) {
  const parts = [sentence].flat();
  const text = parts.map((part) => part.textContent ?? part).join('');
  if (shown.textContent !== text) shown.replaceChildren(...parts);
}

/**
 * Makes the children of `list` those of `wanted`, in order, and keeps the elements that stay: they keep their focus.
 * Each of `wanted` is { key, state, make() }; an element is made again when its state is another one.
 */
export function keyed(list, shown, wanted) {
  const focused = document.activeElement;
  const stays = new Map();
  let next = list.firstElementChild;
  for (const { key, state, make } of wanted) {
    const before = shown.get(key);
    let item = before?.item;
    if (before?.state !== state) {
      item = make();
      if (before) refocus(before.item, item, focused);
      if (next === before?.item) next = next?.nextElementSibling ?? null;
      before?.item.remove();
    }
    if (item === next) next = next.nextElementSibling;
    else list.insertBefore(item, next);
    stays.set(key, { item, state });
  }
  for (const [key, { item }] of shown) if (!stays.has(key)) item.remove();
  return stays;
}

function refocus(before, after, focused) {
  if (!before.contains(focused)) return;
  const at = [...before.querySelectorAll('button')].indexOf(focused);
  queueMicrotask(() => after.querySelectorAll('button')[Math.max(at, 0)]?.focus());
}
