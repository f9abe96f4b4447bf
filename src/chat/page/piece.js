// A piece of a room's history without a gap: messages in the order of their numbers.

/** Messages of a room that are kept in memory; older ones are read again when somebody scrolls there. */
const MOST_KEPT = 50_000;
const SPARE = 5_000;

export class Piece {
  messages = [];
  hasOlder; // there may be messages before
  hasNewer; // there are messages after

  constructor(messages = [], hasOlder = true, hasNewer = false) {
    Object.assign(this, { messages, hasOlder, hasNewer });
  }

  get first() {
    return this.messages[0]?.seq ?? Infinity;
  }

  get last() {
    return this.messages.at(-1)?.seq ?? 0;
  }

  /** Where the first message with this number or a greater one is. */
  indexOf(seq) {
    let [low, high] = [0, this.messages.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.messages[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Where the first message with a greater number is. */
  indexAfter(seq) {
    const at = this.indexOf(seq);
    return this.messages[at]?.seq === seq ? at + 1 : at;
  }

  find(seq) {
    const message = this.messages[this.indexOf(seq)];
    return message?.seq === seq ? message : undefined;
  }

  /** Adds what is newer than everything here; returns what was added. */
  append(messages) {
    const { last } = this;
    const added = messages.filter(({ seq }) => seq > last);
    for (const message of added) this.messages.push(message);
    return added;
  }

  /** Adds what is older than everything here. */
  prepend(messages) {
    const { first } = this;
    this.messages.unshift(...messages.filter(({ seq }) => seq < first));
  }

  /** Lets go of the oldest when there are too many. */
  trim() {
    if (this.messages.length <= MOST_KEPT + SPARE) return;
    this.messages.splice(0, this.messages.length - MOST_KEPT);
    this.hasOlder = true;
  }
}
