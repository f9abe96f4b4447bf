// What the page says, in the language of the person: `t` for a text, `parts` for a sentence with names in it.
//
// The sentences are in words.en.js and, for other languages, in a file each. What a language lacks is said in English.

import english from './words.en.js';
import { isolated } from './dom.js';
import { forThisBrowser } from './memory.js';

const STORED_AS = 'switchboard.language';
/** Languages besides English: what they call themselves, and their sentences. */
const OTHERS = new Map([
  ['de', { name: 'Deutsch', load: () => import('./words.de.js') }],
  ['ar', { name: 'العربية', load: () => import('./words.ar.js') }],
]);
export const languages = new Map([['en', 'English'], ...[...OTHERS].map(([lang, { name }]) => [lang, name])]);

const words = await load(preferred());
export const { lang } = words;
/** With the region that the person's browser has for this language. */
export const locale = (navigator.languages ?? []).find((one) => one.split('-')[0] === lang) ?? lang;
const plural = new Intl.PluralRules(locale);

function preferred() {
  const wanted = [forThisBrowser.read(STORED_AS) ?? '', ...(navigator.languages ?? [])].map((one) => one.split('-')[0]);
  return wanted.find((one) => languages.has(one)) ?? 'en';
}

async function load(wanted) {
  try {
    return { ...english, ...(await OTHERS.get(wanted)?.load())?.default };
  } catch {
    // A file that does not come is no reason to be without a page.
    return english;
  }
}

/** The next page speaks this language. */
export function chooseLanguage(wanted) {
  forThisBrowser.write(STORED_AS, wanted);
  location.reload();
}

function sentence(key, values) {
  const found = words[key] ?? key;
  return typeof found === 'string' ? found : found[plural.select(values.n)] ?? found.other;
}

/** The sentence called `key`; `{name}` in it is a value of this name. */
export function t(key, values = {}) {
  return sentence(key, values).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

/** Whether there is a sentence of this name. */
export const has = (key) => Object.hasOwn(words, key);

/** The same as texts and elements: values that are elements, or lists, stay so. */
export function parts(key, values = {}) {
  return sentence(key, values).split(/(\{\w+\})/).flatMap((part) => {
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    return name ? values[name] ?? [] : part;
  }).filter((part) => part !== '');
}

/** Writes the page that came as HTML in this language. `data-t` is the text; the others are attributes. */
export function translate(root = document) {
  document.documentElement.lang = lang;
  document.documentElement.dir = words.dir;
  for (const shown of root.querySelectorAll('[data-t]')) shown.textContent = t(shown.dataset.t);
  for (const [data, attribute] of [['tLabel', 'aria-label'], ['tPlaceholder', 'placeholder'], ['tTitle', 'title']]) {
    const selector = `[data-${data.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}]`;
    for (const shown of root.querySelectorAll(selector)) shown.setAttribute(attribute, t(shown.dataset[data]));
  }
}

/** Names within a sentence. */
export const names = (list) => list.flatMap((name, i) => (i === 0 ? [isolated(name)] : [', ', isolated(name)]));
