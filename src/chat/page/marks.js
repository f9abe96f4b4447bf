// How far a guest has read, between visits: the server forgets it when a guest leaves. All tabs of a browser share it.

import { forThisBrowser, isText, listOf } from './memory.js';

const STORED_AS = 'switchboard.read';
const MOST_KEPT = 300;
/** Not at every message. */
const WRITE_MS = 500;
const isMark = (value) => Array.isArray(value) && isText(value[0]) && isText(value[1]) && Number.isSafeInteger(value[2]);

export class Marks {
  #marks = stored(); // `user room` -> [epoch, seq]
  #timer = 0;

  constructor() {
    addEventListener('pagehide', () => this.#timer && this.#write());
  }

  of(user, room, epoch) {
    const [known, seq] = this.#marks.get(`${user} ${room}`) ?? [];
    return known === epoch ? seq : 0;
  }

  set(user, room, epoch, seq) {
    const key = `${user} ${room}`;
    // The last one that was set is the last of the list.
    this.#marks.delete(key);
    this.#marks.set(key, [epoch, seq]);
    this.#timer ||= setTimeout(() => this.#write(), WRITE_MS);
  }

  #write() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    // Another tab may have read more.
    const all = new Map([...stored(), ...this.#marks]);
    for (const [key, [epoch, seq]] of stored()) {
      const [known, own] = all.get(key);
      if (known === epoch) all.set(key, [epoch, Math.max(seq, own)]);
    }
    const kept = [...all].slice(-MOST_KEPT);
    this.#marks = new Map(kept);
    forThisBrowser.write(STORED_AS, JSON.stringify(kept.map(([key, [epoch, seq]]) => [key, epoch, seq])));
  }
}

function stored() {
  return new Map(forThisBrowser.readJson(STORED_AS, listOf(isMark)).map(([key, epoch, seq]) => [key, [epoch, seq]]));
}
