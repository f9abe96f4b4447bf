// Whether a text mentions somebody: `@name`, as a word of its own, in whatever case.

export const IN_WORD = /[\p{L}\p{N}\p{M}_]/u;

/** @param {string} text @param {number} at */
export const charAt = (text, at) => (at < text.length ? String.fromCodePoint(/** @type {number} */ (text.codePointAt(at))) : '');

/** @param {string} text @param {number} at */
export const charBefore = (text, at) => [...text.slice(Math.max(0, at - 2), at)].at(-1) ?? '';

/**
 * Whether what stands at this place is no part of a longer word.
 * @param {string} text @param {number} at @param {number} length
 */
export function isMention(text, at, length) {
  return !IN_WORD.test(charBefore(text, at)) && !IN_WORD.test(charAt(text, at + length));
}

/**
 * Whether the text mentions this name.
 * @param {string} text @param {string} name
 */
export function mentions(text, name) {
  if (!name || !text.includes('@')) return false;
  const [all, wanted] = [text.toLowerCase(), `@${name.toLowerCase()}`];
  for (let at = all.indexOf(wanted); at >= 0; at = all.indexOf(wanted, at + 1)) if (isMention(all, at, wanted.length)) return true;
  return false;
}
