// How far a guest has read, between visits: the server forgets it when a guest leaves.

import { forThisBrowser, isText, listOf } from './memory.js';

const STORED_AS = 'switchboard.read';
const MOST_KEPT = 300;
const isMark = (value) => Array.isArray(value) && isText(value[0]) && isText(value[1]) && Number.isSafeInteger(value[2]);

export class Marks {
  #marks; // `user room` -> [epoch, seq]

  constructor() {
    this.#marks = new Map(forThisBrowser.readJson(STORED_AS, listOf(isMark)).map(([key, epoch, seq]) => [key, [epoch, seq]]));
  }

  of(user, room, epoch) {
    const [known, seq] = this.#marks.get(`${user} ${room}`) ?? [];
    return known === epoch ? seq : 0;
  }

  set(user, room, epoch, seq) {
    const key = `${user} ${room}`;
    this.#marks.delete(key);
    this.#marks.set(key, [epoch, seq]);
    for (const oldest of this.#marks.keys()) {
      if (this.#marks.size <= MOST_KEPT) break;
      this.#marks.delete(oldest);
    }
    forThisBrowser.write(STORED_AS, JSON.stringify([...this.#marks].map(([name, [known, last]]) => [name, known, last])));
  }
}
