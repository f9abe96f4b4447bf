// What people wrote, as elements: links, code, bold, italic, lists, quotes, mentions. A small part of Markdown, and none of HTML:
// every character of a message reaches the document through `textContent`, so nothing that is written can become markup.
//
// What begins a format and is not ended stays as it is written. The work is linear in the length of the text, whatever it holds.

import { IN_WORD, charAt, charBefore, isMention } from './client/mentions.js';
import { element } from './dom.js';

const DEEPEST = 4;
const FENCE = /^```\s?([\w+-]{0,20})\s*$/;
const BULLET = /^[-*•]\s+(\S.*)$/;
const NUMBER = /^(\d{1,9})[.)]\s+(\S.*)$/;
const QUOTE = /^>\s?(.*)$/;
const LINK = /^https?:\/\/[^\s<>"`\p{Cc}]+/iu;
/** What ends a sentence, and not an address. */
const TRAILING = /[.,;:!?'"…。、！？」』）]$/u;
const MARKS = [['**', 'strong'], ['~~', 'del'], ['*', 'em'], ['_', 'em']];
const LETTER = /\p{L}/u;
/** What no message of emojis alone lacks. */
const PICTURE = /[\p{Extended_Pictographic}\p{Regional_Indicator}\u20e3]/u;
let jumbo;

/** Takes a browser a tenth of a second to make. Those that do not know the flag show such messages in the size of others. */
function emojisOnly() {
  try {
    return new RegExp('^(?:\\p{RGI_Emoji}\\s*){1,3}$', 'v');
  } catch {
    return null;
  }
}

export function isJumbo(text) {
  if (text.length > 40 || LETTER.test(text) || !PICTURE.test(text)) return false;
  jumbo ??= emojisOnly();
  return jumbo !== null && jumbo.test(text);
}

/** `people`: { names: those who may be mentioned, own: the name of the one who reads } */
export function rendered(text, people = { names: [], own: '' }) {
  // Of a large room there are many, and few messages mention anybody.
  const names = text.includes('@') ? [...new Set(people.names)].filter(Boolean).sort((a, b) => b.length - a.length) : [];
  return blocks(text.split('\n'), { names: names.map((name) => name.toLowerCase()), own: people.own.toLowerCase() }, 0);
}

function blocks(lines, people, depth) {
  const made = [];
  let plain = [];
  const flush = () => {
    if (plain.length > 0) made.push(...inline(plain.join('\n'), people, depth));
    plain = [];
  };
  for (let i = 0; i < lines.length;) {
    const block = depth < DEEPEST ? blockAt(lines, i, people, depth) : null;
    if (block) {
      flush();
      made.push(block.element);
      i = block.next;
    } else {
      plain.push(lines[i]);
      i += 1;
    }
  }
  flush();
  return made;
}

/** The block that begins with a line, and the line behind it. */
function blockAt(lines, at, people, depth) {
  if (FENCE.test(lines[at])) return codeAt(lines, at);
  if (QUOTE.test(lines[at])) {
    const [inner, next] = taken(lines, at, (line) => QUOTE.exec(line)?.[1]);
    const quote = element('blockquote');
    quote.append(...blocks(inner, people, depth + 1));
    return { element: quote, next };
  }
  for (const [tag, pattern] of [['ul', BULLET], ['ol', NUMBER]]) {
    const first = pattern.exec(lines[at]);
    if (!first) continue;
    const [inner, next] = taken(lines, at, (line) => pattern.exec(line)?.at(-1));
    const list = element(tag);
    if (tag === 'ol') list.start = Number(first[1]);
    for (const text of inner) {
      const item = element('li');
      item.append(...inline(text, people, depth + 1));
      list.append(item);
    }
    return { element: list, next };
  }
  return null;
}

function taken(lines, at, read) {
  const inner = [];
  let next = at;
  for (; next < lines.length; next += 1) {
    const text = read(lines[next]);
    if (text === undefined) break;
    inner.push(text);
  }
  return [inner, next];
}

function codeAt(lines, at) {
  const end = lines.findIndex((line, i) => i > at && line.trimEnd() === '```');
  if (end < 0) return null;
  const block = element('pre');
  block.dir = 'ltr';
  block.tabIndex = -1;
  block.append(element('code', '', lines.slice(at + 1, end).join('\n')));
  return { element: block, next: end + 1 };
}

/** Formats within lines. */
function inline(text, people, depth) {
  const made = [];
  const absent = new Set(); // marks that do not end any more
  const lower = text.toLowerCase();
  let from = 0;
  for (let i = 0; i < text.length;) {
    const found = isSpecial(text[i]) ? inlineAt({ text, lower, i, people, depth, absent }) : null;
    if (found) {
      if (i > from) made.push(text.slice(from, i));
      made.push(found.element);
      i = found.next;
      from = i;
    } else i += 1;
  }
  if (from < text.length) made.push(text.slice(from));
  return made;
}

const isSpecial = (char) => '`*_~@hH'.includes(char);

function inlineAt(at) {
  switch (at.text[at.i]) {
    case '`':
      return codeIn(at);
    case '@':
      return mentionIn(at);
    case 'h':
    case 'H':
      return linkIn(at);
    default:
      return at.depth < DEEPEST ? emphasisIn(at) : null;
  }
}

function codeIn({ text, i, absent }) {
  const end = ending(text, '`', i + 1, absent);
  if (end <= i + 1) return null;
  const code = element('code', '', text.slice(i + 1, end));
  code.dir = 'ltr';
  return { element: code, next: end + 1 };
}

/** Where a mark is next on the same line; -1 when it is not there, which is remembered for the rest of the text. */
function ending(text, mark, from, absent) {
  if (absent.has(mark)) return -1;
  const end = text.indexOf(mark, from);
  if (end < 0) absent.add(mark);
  return end < 0 || text.slice(from, end).includes('\n') ? -1 : end;
}

function mentionIn({ text, lower, i, people }) {
  const name = people.names.find((one) => lower.startsWith(one, i + 1) && isMention(lower, i, one.length + 1));
  if (!name) return null;
  const mention = element('span', name === people.own ? 'mention me' : 'mention', text.slice(i, i + 1 + name.length));
  return { element: mention, next: i + 1 + name.length };
}

function linkIn({ text, i }) {
  if (IN_WORD.test(charBefore(text, i))) return null;
  let shown = LINK.exec(text.slice(i, i + 2048))?.[0];
  if (!shown) return null;
  for (let isDone = false; !isDone;) {
    const isOpen = shown.endsWith(')') && shown.split(')').length > shown.split('(').length;
    isDone = !isOpen && !TRAILING.test(shown);
    if (!isDone) shown = shown.slice(0, -1);
  }
  const url = URL.canParse(shown) ? new URL(shown) : null;
  if (!url?.hostname || !['http:', 'https:'].includes(url.protocol)) return null;
  const link = element('a', '', shown);
  link.href = url.href;
  link.rel = 'noopener noreferrer nofollow';
  link.target = '_blank';
  link.tabIndex = -1;
  link.dir = 'ltr';
  return { element: link, next: i + shown.length };
}

function emphasisIn({ text, i, people, depth, absent }) {
  const [mark, tag] = MARKS.find(([one]) => text.startsWith(one, i)) ?? [];
  if (!mark || /^[\s]?$/.test(text[i + mark.length] ?? '')) return null;
  // snake_case and 2*3*4 are no emphasis.
  if (mark.length === 1 && IN_WORD.test(charBefore(text, i))) return null;
  for (let from = i + mark.length, tries = 0; tries < 8; tries += 1) {
    const end = ending(text, mark, from, absent);
    if (end < 0) return null;
    const isInner = mark.length === 1 && (IN_WORD.test(charAt(text, end + 1)) || text[end + 1] === mark);
    if (end > i + mark.length && !/\s/.test(text[end - 1]) && !isInner) {
      const made = element(tag);
      made.append(...inline(text.slice(i + mark.length, end), people, depth + 1));
      return { element: made, next: end + mark.length };
    }
    from = end + mark.length;
  }
  return null;
}

// ---- what a search has found

/** A text as nodes, with the words of a query marked. The last word of a query may be the beginning of one. */
export function marked(text, query) {
  const { folded, from } = fold(text);
  const wanted = fold(query).folded.split(/[^\p{L}\p{N}\p{M}\p{So}]+/u).filter(Boolean);
  const found = wanted.flatMap((word, i) => occurrences(folded, word, i === wanted.length - 1)).sort((a, b) => a[0] - b[0]);
  const made = [];
  let at = 0;
  for (const [start, end] of found) {
    if (from[start] < at) continue;
    made.push(text.slice(at, from[start]), element('mark', '', text.slice(from[start], from[end])));
    at = from[end];
  }
  return [...made, text.slice(at)];
}

/** Without case, accents and forms of compatibility; `from` says where each character was. */
function fold(text) {
  let folded = '';
  const from = [];
  let at = 0;
  for (const char of text) {
    const plain = char.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().replace(/ß/g, 'ss');
    for (let i = 0; i < plain.length; i += 1) from.push(at);
    folded += plain;
    at += char.length;
  }
  from.push(text.length);
  return { folded, from };
}

function occurrences(folded, word, mayContinue) {
  const found = [];
  const isLetter = (at) => /[\p{L}\p{N}]/u.test(folded[at] ?? '');
  // Written without blanks: any part is a word.
  const isAnywhere = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Khmer}\p{sc=Lao}\p{sc=Myanmar}\p{So}]/u.test(word);
  for (let at = folded.indexOf(word); at >= 0; at = folded.indexOf(word, at + word.length)) {
    const end = at + word.length;
    if (isAnywhere || (!isLetter(at - 1) && (mayContinue || !isLetter(end)))) found.push([at, end]);
  }
  return found;
}
