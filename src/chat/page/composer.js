// Where one writes: the draft of each room, the length in bytes, an edit of what was said.

import { byId, bytes } from './dom.js';
import { forThisTab } from './memory.js';

const DRAFT_STORED_AS = 'switchboard.draft.';
/** `keyCode` of a key that an input method has used. */
const USED_BY_INPUT_METHOD = 229;
const ENTER = 13;
/** Safari ends a composition before it tells of the key that ended it. */
const COMPOSED_MS = 50;

export class Composer {
  #form = byId('composer');
  #text = byId('text');
  #room = null;
  #editing = null; // the message, and the draft that waits meanwhile
  #composedAt = -Infinity;
  #limit;

  /** `act`: { post(text), edit(message, text), typing(), editLast(), acts() } */
  constructor(limit, act) {
    this.#limit = limit;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const said = this.#text.value.trim();
      if (!said) return;
      const editing = this.#editing;
      this.#stopEditing('');
      act.acts();
      if (editing) act.edit(editing.message, said);
      else act.post(said);
      this.#text.focus();
    });
    this.#text.addEventListener('compositionend', (event) => { this.#composedAt = event.timeStamp; });
    this.#text.addEventListener('keydown', (event) => {
      if (this.#isComposing(event)) return;
      if (event.key === 'Escape' && this.#editing) this.#stopEditing(this.#editing.draft);
      if (event.key === 'ArrowUp' && this.#text.value === '') {
        event.preventDefault();
        act.editLast();
      }
      if (event.key !== 'Enter' || event.shiftKey) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#text.addEventListener('input', () => {
      this.#changed();
      act.acts();
      if (this.#text.value.trim() && !this.#editing) act.typing();
    });
    byId('cancel-edit').addEventListener('click', () => this.#stopEditing(this.#editing?.draft ?? ''));
  }

  open(room) {
    this.#editing = null;
    this.#room = room;
    this.#set(forThisTab.read(DRAFT_STORED_AS + room.name) ?? '');
  }

  edit(message) {
    this.#editing = { message, draft: this.#editing?.draft ?? this.#text.value };
    this.#set(message.text);
    this.#text.focus();
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

  /** The limit may have changed. */
  check() {
    this.#changed();
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

  #set(text) {
    this.#text.value = text;
    this.#changed();
  }

  #changed() {
    const text = this.#text.value;
    if (!this.#editing && this.#room) forThisTab.write(DRAFT_STORED_AS + this.#room.name, text);
    byId('editing').hidden = !this.#editing;
    const [length, limit] = [bytes(text.trim()), this.#limit()];
    this.#text.setCustomValidity(length > limit ? `Too long by ${length - limit} bytes.` : '');
    byId('counter').textContent = `${length} of ${limit} bytes`;
    byId('counter').classList.toggle('over', length > limit);
    byId('counter').classList.toggle('near', length > limit * 0.8);
  }
}
