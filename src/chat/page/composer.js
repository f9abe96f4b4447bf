// Where one writes: the draft of each room, the length in bytes, an edit of what was said.

import { byId, bytes } from './dom.js';
import { forThisTab } from './memory.js';

const DRAFT_STORED_AS = 'switchboard.draft.';

export class Composer {
  #form = byId('composer');
  #text = byId('text');
  #room = null;
  #editing = null; // the message, and the draft that waits meanwhile
  #limit = () => 4096;

  /** `act`: { post(text), edit(message, text), typing(), editLast() } */
  constructor(limit, act) {
    this.#limit = limit;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const said = this.#text.value.trim();
      if (!said) return;
      const editing = this.#editing;
      this.#stopEditing('');
      if (editing) act.edit(editing.message, said);
      else act.post(said);
      this.#text.focus();
    });
    this.#text.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#editing) this.#stopEditing(this.#editing.draft);
      if (event.key === 'ArrowUp' && this.#text.value === '') {
        event.preventDefault();
        act.editLast();
      }
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#text.addEventListener('input', () => {
      this.#changed();
      notice('');
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
      forThisTab.write(DRAFT_STORED_AS + room, text);
      return;
    }
    this.#set([text, this.#text.value].filter(Boolean).join('\n'));
  }

  focus() {
    this.#text.focus();
  }

  /** The limit may have changed. */
  check() {
    this.#changed();
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

export function notice(text) {
  byId('notice').textContent = text;
}
