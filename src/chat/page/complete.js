// Suggestions while one writes: people behind `@`, emojis behind `:`. A list beside the field; the field keeps the focus.

import { byId, element, insert, say } from './dom.js';
import { here, load } from './later.js';
import { avatar } from './person.js';
import { t } from './words.js';

const MOST_SHOWN = 8;
const PERSON = /(?:^|[\s("'>])@([^\s@][^@\n]{0,31}|)$/u;
const EMOJI = /(?:^|[\s("'])(:([\p{L}\d_+-]{2,24}))$/u;
const WHOLE_EMOJI = /(?:^|[\s("'])(:([\p{L}\d_+-]{1,24}):)$/u;

export class Completion {
  #text;
  #names;
  #list = byId('suggestions');
  #shown = []; // { text, make() }
  #at = 0;
  #length = 0; // of what a suggestion takes the place of

  /** `names()`: the people who may be mentioned. */
  constructor(text, names) {
    this.#text = text;
    this.#names = names;
    text.addEventListener('input', (event) => !event.isComposing && this.#look());
    // What an input method has written comes without an event of its own in some browsers.
    text.addEventListener('compositionend', () => this.#look());
    text.addEventListener('blur', () => this.close());
    this.#list.addEventListener('pointerdown', (event) => {
      const option = event.target.closest('[role=option]');
      event.preventDefault();
      if (option) this.#take(Number(option.dataset.at));
    });
  }

  /** Whether the key was for the list. */
  key(event) {
    if (this.#shown.length === 0) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#mark((this.#at + step + this.#shown.length) % this.#shown.length);
    else if (event.key === 'Escape') this.close();
    else if (event.key === 'Tab' || (event.key === 'Enter' && !event.shiftKey)) this.#take(this.#at);
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  close() {
    if (this.#shown.length === 0) return;
    this.#shown = [];
    this.#list.hidden = true;
    this.#list.replaceChildren();
    this.#text.removeAttribute('aria-activedescendant');
    say(byId('suggested'), '');
  }

  #look() {
    const { selectionStart: caret, selectionEnd, value } = this.#text;
    if (caret !== selectionEnd) return this.close();
    const before = value.slice(0, caret);
    const [, whole, name] = WHOLE_EMOJI.exec(before) ?? [];
    const [, part, like] = EMOJI.exec(before) ?? [];
    const emojis = here('emoji');
    if (!emojis && (name || part)) return this.#loadEmojis();
    const emoji = name && emojis.emojiOf(name);
    if (emoji) {
      this.close();
      return this.#put(whole.length, emoji);
    }
    if (part) return this.#show(part.length, emojis.emojisLike(like, MOST_SHOWN).map(emojiSuggestion));
    const person = PERSON.exec(before);
    if (person) return this.#show(person[1].length + 1, this.#people(person[1]).map(personSuggestion));
    return this.close();
  }

  async #loadEmojis() {
    if (await load('emoji')) this.#look();
  }

  /** Those whose name, or a word of it, begins so. */
  #people(typed) {
    const wanted = typed.toLowerCase();
    const rank = (name) => (name.toLowerCase().startsWith(wanted) ? 0 : 1);
    const found = this.#names().filter((name) => ` ${name.toLowerCase()}`.includes(` ${wanted}`) && name.toLowerCase() !== wanted);
    return found.sort((a, b) => rank(a) - rank(b)).slice(0, MOST_SHOWN);
  }

  #show(length, shown) {
    if (shown.length === 0) return this.close();
    this.#length = length;
    this.#shown = shown;
    this.#list.replaceChildren(...shown.map(({ make }, i) => {
      const option = element('li', 'suggestion');
      option.id = `suggestion-${i}`;
      option.dataset.at = i;
      option.setAttribute('role', 'option');
      option.append(...make());
      return option;
    }));
    this.#list.hidden = false;
    this.#mark(0);
    say(byId('suggested'), t('suggestions', { n: shown.length }));
    return undefined;
  }

  #mark(at) {
    this.#at = at;
    for (const [i, option] of [...this.#list.children].entries()) option.setAttribute('aria-selected', String(i === at));
    this.#list.children[at].scrollIntoView({ block: 'nearest' });
    this.#text.setAttribute('aria-activedescendant', `suggestion-${at}`);
  }

  #take(at) {
    const { text } = this.#shown[at];
    const length = this.#length;
    this.close();
    this.#put(length, `${text} `);
    this.close();
  }

  /** Writes a text in the place of what was typed for it. */
  #put(length, text) {
    const { selectionStart: caret } = this.#text;
    this.#text.setSelectionRange(caret - length, caret);
    insert(this.#text, text);
  }
}

const emojiSuggestion = ({ emoji, names }) => ({ text: emoji, make: () => [element('span', 'sign', emoji), ` :${names[0]}:`] });

function personSuggestion(name) {
  return {
    text: `@${name}`,
    make() {
      const shown = element('span', '', name);
      shown.dir = 'auto';
      return [avatar(name), shown];
    },
  };
}
