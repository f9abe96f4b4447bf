// Deletions that can still be undone. A message that is to be deleted waits for a few seconds; when the page goes away, it is
// deleted at once.

const UNDO_MS = 5_000;

export class Deletions {
  #waiting = new Map(); // message -> { room, timer }
  #act;

  /** `act`: { remove(room, message), changed(room) } */
  constructor(act) {
    this.#act = act;
    addEventListener('pagehide', () => {
      for (const message of [...this.#waiting.keys()]) this.#remove(message);
    });
  }

  add(room, message) {
    if (this.#waiting.has(message)) return;
    this.#waiting.set(message, { room, timer: setTimeout(() => this.#remove(message), UNDO_MS) });
    this.#mark(room, message, true);
  }

  undo(message) {
    const { room, timer } = this.#waiting.get(message) ?? {};
    if (!room) return;
    clearTimeout(timer);
    this.#waiting.delete(message);
    this.#mark(room, message, false);
  }

  async #remove(message) {
    const { room, timer } = this.#waiting.get(message);
    clearTimeout(timer);
    this.#waiting.delete(message);
    // When it was refused the message is as it was.
    if ((await this.#act.remove(room, message)) === undefined) this.#mark(room, message, false);
    else message.isLeaving = false;
  }

  #mark(room, message, isLeaving) {
    message.isLeaving = isLeaving;
    message.version += 1;
    this.#act.changed(room);
  }
}
