// A person's name as it is shown: the mark of a verified name is a drawing beside it, and nothing that a name says looks the same.

import { drawing, element } from './dom.js';

const HUES = 6;
const SEAL = 'M8 0.4L10.4 2.1L13.4 2.6L13.9 5.6L15.6 8L13.9 10.4L13.4 13.4L10.4 13.9L8 15.6L5.6 13.9L2.6 13.4L2.1 10.4L0.4 8L2.1 5.6L2.6 2.6L5.6 2.1Z';
const CHECK = 'M4.6 8.2l2.4 2.4 4.4-4.8';
/** Signs beside which a reader may take a name for more than it is. */
const SIGNS = /[\p{So}\p{Sk}\p{Sm}()[\]{}✓✔√]/u;

export function nameElement(user, className = 'author') {
  const made = element('span', className, user);
  made.dataset.hue = hue(user);
  made.dir = 'auto';
  return made;
}

/** The name, and what is known about it: { user, verified, lookalike }; `isOwn` for the one who reads. */
export function person({ user, verified, lookalike }, isOwn = false) {
  const made = element('span', 'person');
  made.append(nameElement(user));
  made.append(...marks({ user, verified, lookalike }, isOwn));
  return made;
}

/** What stands beside a name. */
export function marks({ user, verified, lookalike }, isOwn = false) {
  const made = [];
  if (verified) made.push(verifiedMark());
  else if (lookalike) made.push(tag('tag warning', 'not verified', 'This name looks like the name of somebody who is verified.'));
  else if (SIGNS.test(user)) made.push(tag('tag', 'not verified', 'This name is not verified.'));
  if (isOwn) made.push(tag('tag you', 'you', 'This is you.'));
  return made;
}

function tag(className, text, title) {
  const made = element('span', className, text);
  made.title = title;
  return made;
}

export function verifiedMark() {
  const mark = drawing('verified', 'verified', ['seal', SEAL], ['check', CHECK]);
  const title = document.createElementNS('http://www.w3.org/2000/svg', 'title');
  title.textContent = 'Verified name';
  mark.prepend(title);
  return mark;
}

function hue(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 65_521;
  return sum % HUES;
}
