// Elements, and what they show. What the server or a person wrote becomes text, and nothing else.

export const $ = (id) => document.getElementById(id);

/** An element with properties and children; a string becomes text. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'data') Object.assign(made.dataset, value);
    else if (key.startsWith('aria-')) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** Changes a text only where it is another one, so that a reader of the screen is not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const numbers = new Intl.NumberFormat('en');

export const count = (number) => numbers.format(number);

/** 1 decimal below 10, none above. */
export const rate = (number) => (number > 0 && number < 10 ? number.toFixed(1) : count(Math.round(number)));

export function octets(number) {
  if (number < 1024) return `${count(number)} B`;
  if (number < 1024 ** 2) return `${rate(number / 1024)} KiB`;
  return `${rate(number / 1024 ** 2)} MiB`;
}

const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const calendar = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

export const time = (ms) => clock.format(ms);

/** The time of today, with the day where it is another one. */
export function moment(ms) {
  return new Date(ms).toDateString() === new Date().toDateString() ? time(ms) : calendar.format(ms);
}

/** Asks before something that cannot be taken back. Resolves to whether it is wanted. */
export function confirmed(text, action) {
  const dialog = $('confirm');
  $('confirm-text').textContent = text;
  $('confirm-yes').textContent = action;
  return new Promise((resolve) => {
    const end = (isWanted) => () => {
      dialog.close();
      resolve(isWanted);
    };
    $('confirm-yes').onclick = end(true);
    $('confirm-no').onclick = end(false);
    dialog.oncancel = () => resolve(false);
    dialog.showModal();
  });
}
