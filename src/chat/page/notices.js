// What the page has to say beside the messages: one line about what just happened, and what the operator of the server announces.
//
// A complaint stays until the person does something else, or until what it complained of is over. What is to be done before the
// chat can go on stands for as long as that is so. An announcement stays until the person puts it away.

import { byId, button, element, say as write } from './dom.js';
import { timeElement } from './time.js';

const MOST_ANNOUNCED = 3;

const NOTHING = { kind: '', text: '', about: '' };
let said = NOTHING;
let standing = null; // { kind, text, words, act }

/** Complains: something that was asked for did not happen. `about` is what may end it. */
export function complain(text, about = '') {
  say({ kind: 'error', text, about });
}

/** Tells of something that is no error. */
export function inform(text) {
  say({ kind: 'info', text, about: '' });
}

/** Ends what was said: all of it, or what is about this. */
export function clearNotice(about) {
  if (about === undefined || said.about === about) say(NOTHING);
}

/** The chat cannot go on before the person does something: `words` on a button, if there is one thing to do. */
export function stand(text, words, act) {
  if (standing?.text === text) return;
  standing = { kind: 'error', text, words, act };
  show();
}

export function standNoMore() {
  if (!standing) return;
  standing = null;
  show();
}

function say(notice) {
  said = notice;
  show();
}

function show() {
  const { kind, text, words } = standing ?? said;
  const line = byId('notice');
  write(line, text);
  byId('notice-line').dataset.kind = kind;
  byId('notice-close').hidden = standing !== null || text === '';
  byId('notice-action').hidden = !words;
  byId('notice-action').textContent = words ?? '';
}

byId('notice-close').addEventListener('click', () => clearNotice());
byId('notice-action').addEventListener('click', () => standing?.act?.());

/** What an operator tells everyone. */
export function announce(text, time) {
  const item = element('li', 'announcement');
  const head = element('p', 'announcement-head', 'Announcement');
  if (Number.isFinite(time) && time > 0 && time < 8.64e15) head.append(' ', timeElement(time));
  const body = element('p', 'announcement-body', text);
  body.dir = 'auto';
  item.append(head, body, button('plain close', '×', 'Put the announcement away', () => item.remove()));
  const list = byId('announcements');
  list.append(item);
  while (list.childElementCount > MOST_ANNOUNCED) list.firstElementChild.remove();
}
