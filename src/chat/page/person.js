// A person's name as it is shown: the mark of a verified name is a drawing beside it, and nothing that a name says looks the same.

import { drawing, element } from './dom.js';
import { t } from './words.js';

/** Colours of initials: log.css has one for each, of different lightness, so that those who see no red and green tell them apart. */
export const HUES = 8;
const SEAL = 'M8 0.4L10.4 2.1L13.4 2.6L13.9 5.6L15.6 8L13.9 10.4L13.4 13.4L10.4 13.9L8 15.6L5.6 13.9L2.6 13.4L2.1 10.4L0.4 8L2.1 5.6L2.6 2.6L5.6 2.1Z';
const CHECK = 'M4.6 8.2l2.4 2.4 4.4-4.8';
/** Signs beside which a reader may take a name for more than it is. */
const SIGNS = /[\p{So}\p{Sk}\p{Sm}()[\]{}✓✔√]/u;

/** One letter, and nothing that belongs to it. */
const PLAIN = /^[a-z\d](?![^ -~])/i;
let graphemes;

export function nameElement(user, className = 'author') {
  const made = element('span', className, user);
  made.dir = 'auto';
  return made;
}

/** The initials of a name on a colour of its own; for the eye alone, as the name stands beside it. */
export function avatar(user) {
  const made = element('span', 'avatar');
  // Written by the style: they are no part of the name of a button.
  made.dataset.initials = initials(user);
  made.dataset.hue = hue(user);
  made.setAttribute('aria-hidden', 'true');
  return made;
}

/** Of the first and the last word. */
function initials(user) {
  const words = user.split(/[\s_.-]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  if (words.length === 0) return first(user);
  const [one, other] = [words[0], words.at(-1)].map((word) => first(word.replace(/^[^\p{L}\p{N}]+/u, '')));
  // Two letters of scripts that join them would read as a word.
  const isJoined = /[\p{sc=Arabic}\p{sc=Han}\p{sc=Hangul}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Devanagari}]/u.test(one);
  return words.length === 1 || isJoined ? one : one + other;
}

function first(word) {
  if (PLAIN.test(word)) return word[0].toUpperCase();
  // Takes a browser longer to make than a page of names to show.
  graphemes ??= typeof Intl.Segmenter === 'function' ? new Intl.Segmenter() : false;
  const letter = graphemes ? [...graphemes.segment(word)][0]?.segment : [...word][0];
  return (letter ?? '').toUpperCase();
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
  else if (lookalike) made.push(tag('tag warning', t('not_verified'), t('lookalike')));
  else if (SIGNS.test(user)) made.push(tag('tag', t('not_verified'), t('unverified_name')));
  if (isOwn) made.push(tag('tag you', t('you'), t('this_is_you')));
  return made;
}

function tag(className, text, title) {
  const made = element('span', className, text);
  made.title = title;
  return made;
}

function verifiedMark() {
  const mark = drawing('verified', t('verified'), ['seal', SEAL], ['check', CHECK]);
  const title = document.createElementNS('http://www.w3.org/2000/svg', 'title');
  title.textContent = t('verified_name');
  mark.prepend(title);
  return mark;
}

function hue(name) {
  let sum = 0;
  for (const char of name.toLowerCase()) sum = (sum * 31 + char.codePointAt(0)) % 65_521;
  return sum % HUES;
}
