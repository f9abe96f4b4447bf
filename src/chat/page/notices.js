// What the page has to say beside the messages: one line about what just happened, and what the operator of the server announces.
//
// A complaint stays until the person does something else, or until what it complained of is over. What is to be done before the
// chat can go on stands for as long as that is so. An announcement stays until the person puts it away.

import { byId, button, element, say as write } from './dom.js';
import { timeElement } from './time.js';
import { t } from './words.js';

const MOST_ANNOUNCED = 3;

const NOTHING = { kind: '', text: '', about: '', actions: [] };
let said = NOTHING;
let standing = null; // { kind, text, actions }

/** Complains: something that was asked for did not happen. `about` is what may end it. */
export function complain(text, about = '') {
  say({ ...NOTHING, kind: 'error', text, about });
}

/** Tells of something that is no error. */
export function inform(text) {
  say({ ...NOTHING, kind: 'info', text });
}

/** Asks whether something is wanted: `actions` are buttons, each { words, act }. `no` is called when the person puts it away. */
export function offer(text, actions, no) {
  say({ ...NOTHING, kind: 'info', text, about: 'offer', actions, no });
}

/** Ends what was said: all of it but an offer, or what is about this. */
export function clearNotice(about) {
  if (about === undefined ? said.about !== 'offer' : said.about === about) say(NOTHING);
}

/** The chat cannot go on before the person does something: one of the `actions`, each { words, act }. */
export function stand(text, actions) {
  const same = (one) => one && one.text === text && one.actions.map(({ words }) => words).join() === actions.map(({ words }) => words).join();
  if (same(standing)) return;
  standing = { kind: 'error', text, actions };
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
  const { kind, text, actions } = standing ?? said;
  write(byId('notice'), text);
  byId('notice-line').dataset.kind = kind;
  byId('notice-close').hidden = standing !== null || text === '';
  byId('notice-actions').replaceChildren(...actions.map(({ words, act }, i) => button(i > 0 ? 'second' : '', words, '', act)));
}

byId('notice-close').addEventListener('click', () => {
  const { no } = said;
  say(NOTHING);
  no?.();
});

/** What an operator tells everyone. */
export function announce(text, time) {
  const item = element('li', 'announcement');
  const head = element('p', 'announcement-head', t('announcement'));
  if (Number.isFinite(time) && time > 0 && time < 8.64e15) head.append(' ', timeElement(time));
  const body = element('p', 'announcement-body', text);
  body.dir = 'auto';
  item.append(head, body, button('plain close', '×', t('close_announcement'), () => item.remove()));
  const list = byId('announcements');
  list.append(item);
  while (list.childElementCount > MOST_ANNOUNCED) list.firstElementChild.remove();
}
