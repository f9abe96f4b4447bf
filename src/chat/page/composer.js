// Where one writes: the draft of each room, the length in bytes, an edit of what was said, a reply with a quote.

import { Completion } from './complete.js';
import { byId, bytes, insert, isolated, say } from './dom.js';
import { pickEmoji } from './later.js';
import { forThisTab } from './memory.js';
import { parts, t } from './words.js';

const DRAFT_STORED_AS = 'switchboard.draft.';
/** `keyCode` of a key that an input method has used. */
const USED_BY_INPUT_METHOD = 229;
const ENTER = 13;
/** Safari ends a composition before it tells of the key that ended it. */
const COMPOSED_MS = 50;
/** Of what is quoted: characters, and lines. */
const MOST_QUOTED = 200;
const MOST_QUOTED_LINES = 3;
const FORMATS = new Map([['b', '**'], ['i', '*'], ['e', '`']]);

export class Composer {
  #form = byId('composer');
  #text = byId('text');
  #room = null;
  #editing = null; // the message, and the draft that waits meanwhile
  #reply = null; // the message that is answered
  #composedAt = -Infinity;
  #limit;
  #completion;
  #isReadOnly = false;

  /** `act`: { post(text), edit(message, text), typing(), editLast(), acts(), names() } */
  constructor(limit, act) {
    this.#limit = limit;
    this.#completion = new Completion(this.#text, act.names);
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit(act);
    });
    this.#text.addEventListener('compositionend', (event) => { this.#composedAt = event.timeStamp; });
    this.#text.addEventListener('keydown', (event) => this.#key(event, act));
    this.#text.addEventListener('input', () => {
      this.#changed();
      act.acts();
      if (this.#text.value.trim() && !this.#editing) act.typing();
    });
    byId('cancel-edit').addEventListener('click', () => this.#stopEditing(this.#editing?.draft ?? ''));
    byId('cancel-reply').addEventListener('click', () => {
      this.#setReply(null);
      this.focus();
    });
    byId('emoji').addEventListener('click', () => pickEmoji(byId('emoji'), (emoji) => insert(this.#text, emoji)));
  }

  open(room) {
    this.#editing = null;
    this.#completion.close();
    this.#setReply(null);
    this.#room = room;
    this.#set(forThisTab.read(DRAFT_STORED_AS + room.name) ?? '');
  }

  edit(message) {
    this.#setReply(null);
    this.#editing = { message, draft: this.#editing?.draft ?? this.#text.value };
    this.#set(message.text);
    this.focus();
  }

  reply(message) {
    if (this.#editing) this.#stopEditing(this.#editing.draft);
    this.#setReply(message);
    this.focus();
  }

  /** What was refused goes back into the field, in front of what was typed since. */
  giveBack(room, text) {
    if (room !== this.#room.name) {
      const draft = forThisTab.read(DRAFT_STORED_AS + room) ?? '';
      forThisTab.write(DRAFT_STORED_AS + room, [text, draft].filter(Boolean).join('\n'));
      return;
    }
    if (this.#editing) {
      this.#editing.draft = [text, this.#editing.draft].filter(Boolean).join('\n');
      return;
    }
    this.#set([text, this.#text.value].filter(Boolean).join('\n'));
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }

  /** The limit may have changed, and whether one may write here. */
  check(isReadOnly = this.#isReadOnly) {
    this.#isReadOnly = isReadOnly;
    this.#text.readOnly = isReadOnly;
    byId('emoji').disabled = isReadOnly;
    this.#changed();
  }

  #submit(act) {
    if (!this.#text.value.trim() || this.#isReadOnly) return;
    const said = this.#whole();
    const editing = this.#editing;
    this.#setReply(null);
    this.#completion.close();
    this.#stopEditing('');
    act.acts();
    if (editing) act.edit(editing.message, said);
    else act.post(said);
    this.#text.focus();
  }

  #key(event, act) {
    if (this.#isComposing(event)) return;
    if (this.#completion.key(event)) return;
    if (event.key === 'Escape') this.#escape();
    if (event.key === 'ArrowUp' && this.#text.value === '' && !this.#reply) {
      event.preventDefault();
      act.editLast();
    }
    const mark = FORMATS.get(event.key.toLowerCase());
    if (mark && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) this.#format(event, mark);
    if (event.key !== 'Enter' || event.shiftKey) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  #escape() {
    if (this.#editing) this.#stopEditing(this.#editing.draft);
    else this.#setReply(null);
  }

  /** Puts a mark around what is selected. */
  #format(event, mark) {
    const { selectionStart: start, selectionEnd: end, value } = this.#text;
    event.preventDefault();
    insert(this.#text, mark + value.slice(start, end) + mark);
    if (start === end) this.#text.setSelectionRange(start + mark.length, start + mark.length);
  }

  /** Whether a key belongs to an input method: also the one that has just ended a composition. */
  #isComposing(event) {
    if (event.isComposing || event.keyCode === USED_BY_INPUT_METHOD) return true;
    return event.keyCode !== ENTER && event.key === 'Enter' && event.timeStamp - this.#composedAt < COMPOSED_MS;
  }

  #stopEditing(draft) {
    this.#editing = null;
    this.#set(draft);
  }

  #setReply(message) {
    this.#reply = message;
    byId('replying').hidden = message === null;
    if (message) say(byId('replying-to'), [...parts('replying', { user: isolated(message.user) }), ': ', isolated(quoted(message.text).join(' '))]);
    if (this.#room) this.#changed();
  }

  /** What is said: with the quote before it. */
  #whole() {
    const said = this.#text.value.trim();
    if (!this.#reply || !said) return said;
    const [first, ...rest] = quoted(this.#reply.text);
    return [`> @${this.#reply.user}: ${first ?? ''}`, ...rest.map((line) => `> ${line}`), said].join('\n');
  }

  #set(text) {
    this.#text.value = text;
    this.#changed();
  }

  #changed() {
    const text = this.#text.value;
    if (!this.#editing && this.#room) forThisTab.write(DRAFT_STORED_AS + this.#room.name, text);
    byId('editing').hidden = !this.#editing;
    const [length, limit] = [bytes(this.#whole()), this.#limit()];
    this.#text.setCustomValidity(length > limit ? t('too_long', { over: length - limit }) : '');
    byId('counter').textContent = t('bytes', { length, limit });
    byId('counter').classList.toggle('over', length > limit);
    byId('counter').classList.toggle('near', length > limit * 0.8);
    byId('send').disabled = text.trim() === '' || this.#isReadOnly;
    this.#grow();
  }

  /** Where the style cannot do it. */
  #grow() {
    if (CSS.supports('field-sizing', 'content')) return;
    this.#text.style.height = 'auto';
    this.#text.style.height = `${this.#text.scrollHeight + 2}px`;
  }
}

/** The beginning of a text without what it quotes itself. */
function quoted(text) {
  const lines = text.split('\n').filter((line) => line.trim() && !line.startsWith('>') && !line.startsWith('```'));
  const kept = [...lines.slice(0, MOST_QUOTED_LINES).join('\n')];
  const isCut = kept.length > MOST_QUOTED || lines.length > MOST_QUOTED_LINES;
  return `${kept.slice(0, MOST_QUOTED).join('')}${isCut ? '…' : ''}`.split('\n');
}
