// How far somebody has read, between visits: the server forgets it when a guest leaves.

import { isText, readList } from './storage.js';

const STORED_AS = 'switchboard.read';
const MOST_KEPT = 300;
/** Not at every message. */
const WRITE_MS = 500;
/** @param {any} value */
const isMark = (value) => Array.isArray(value) && isText(value[0]) && isText(value[1]) && Number.isSafeInteger(value[2]);

export class Marks {
  #store;
  /** `user room` -> [epoch, seq] @type {Map<string, [string, number]>} */
  #marks;
  /** @type {any} */
  #timer = 0;

  /** @param {import('./storage.js').Store} store several clients may share it */
  constructor(store) {
    this.#store = store;
    this.#marks = this.#stored();
  }

  /** @param {string} user @param {string} room @param {string} epoch */
  of(user, room, epoch) {
    const [known, seq] = this.#marks.get(`${user} ${room}`) ?? [];
    return known === epoch ? seq ?? 0 : 0;
  }

  /** @param {string} user @param {string} room @param {string} epoch @param {number} seq */
  set(user, room, epoch, seq) {
    const key = `${user} ${room}`;
    // The last one that was set is the last of the list.
    this.#marks.delete(key);
    this.#marks.set(key, [epoch, seq]);
    this.#timer ||= setTimeout(() => this.write(), WRITE_MS);
  }

  /** Writes what is not written yet. */
  write() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    // Another client may have read more.
    const stored = this.#stored();
    const all = new Map([...stored, ...this.#marks]);
    for (const [key, [epoch, seq]] of stored) {
      const [known, own] = all.get(key) ?? [epoch, seq];
      if (known === epoch) all.set(key, [epoch, Math.max(seq, own)]);
    }
    const kept = [...all].slice(-MOST_KEPT);
    this.#marks = new Map(kept);
    this.#store.write(STORED_AS, JSON.stringify(kept.map(([key, [epoch, seq]]) => [key, epoch, seq])));
  }

  /** @returns {Map<string, [string, number]>} */
  #stored() {
    return new Map(readList(this.#store, STORED_AS, isMark).map(([key, epoch, seq]) => [key, [epoch, seq]]));
  }
}
