// A piece of a room's history without a gap: messages in the order of their numbers.

/** Messages of a room that are kept in memory; older ones are read again when somebody asks for them. */
const MOST_KEPT = 50_000;
const SPARE = 5_000;

/** @typedef {import('./wire.js').Message} Message */

export class Piece {
  /**
   * @param {Message[]} messages
   * @param {boolean} hasOlder there may be messages before
   * @param {boolean} hasNewer there are messages after
   */
  constructor(messages = [], hasOlder = true, hasNewer = false) {
    this.messages = messages;
    this.hasOlder = hasOlder;
    this.hasNewer = hasNewer;
  }

  /** The number of the first message; Infinity when there is none. */
  get first() {
    return this.messages[0]?.seq ?? Infinity;
  }

  /** The number of the last message; 0 when there is none. */
  get last() {
    return this.messages.at(-1)?.seq ?? 0;
  }

  /**
   * Where the first message with this number or a greater one is.
   * @param {number} seq
   */
  indexOf(seq) {
    let [low, high] = [0, this.messages.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.messages[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Where the first message with a greater number is.
   * @param {number} seq
   */
  indexAfter(seq) {
    const at = this.indexOf(seq);
    return this.messages[at]?.seq === seq ? at + 1 : at;
  }

  /** @param {number} seq */
  find(seq) {
    const message = this.messages[this.indexOf(seq)];
    return message?.seq === seq ? message : undefined;
  }

  /**
   * Adds what is newer than everything here; returns what was added.
   * @param {Message[]} messages
   */
  append(messages) {
    const { last } = this;
    const added = messages.filter(({ seq }) => seq > last);
    for (const message of added) this.messages.push(message);
    return added;
  }

  /**
   * Adds what is older than everything here.
   * @param {Message[]} messages
   */
  prepend(messages) {
    const { first } = this;
    this.messages.unshift(...messages.filter(({ seq }) => seq < first));
  }

  /**
   * Lets go of everything newer than this number.
   * @param {number} seq
   */
  cut(seq) {
    this.messages.length = this.indexAfter(seq);
  }

  /** Lets go of the oldest when there are too many. */
  trim() {
    if (this.messages.length <= MOST_KEPT + SPARE) return;
    this.messages.splice(0, this.messages.length - MOST_KEPT);
    this.hasOlder = true;
  }
}
