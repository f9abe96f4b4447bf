// Commands that wait for their answers, by the number that comes back with the answer.

import { Disconnected } from './errors.js';
import { refused } from './wire.js';

const ANSWER_LIMIT_MS = 15_000;
/** After a sleep of the machine timers come before what is in the socket, which is read in this time. */
export const GRACE_MS = 100;

export class Requests {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void, sentAt: number, timer: any }>} */
  #waiting = new Map();
  #nextId = 1;
  #send;
  #late;

  /**
   * @param {(command: object) => boolean} send false when no socket is open
   * @param {() => void} late an answer does not come
   */
  constructor(send, late) {
    this.#send = send;
    this.#late = late;
  }

  /** Milliseconds since the oldest command was sent that has no answer yet; 0 when all have. */
  get waitingMs() {
    const [oldest] = this.#waiting.values();
    return oldest ? performance.now() - oldest.sentAt : 0;
  }

  /** The number of the next command. */
  get nextId() {
    return this.#nextId;
  }

  /**
   * Sends a command; the promise is for its answer.
   * @param {object} command
   * @returns {Promise<any>}
   */
  ask(command) {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      if (!this.#send({ ...command, id })) {
        reject(new Disconnected('offline'));
        return;
      }
      const asked = { resolve, reject, sentAt: performance.now(), timer: setTimeout(() => {
        asked.timer = setTimeout(this.#late, GRACE_MS);
      }, ANSWER_LIMIT_MS) };
      this.#waiting.set(id, asked);
    });
  }

  /**
   * Whether it was an answer.
   * @param {any} value
   */
  answer(value) {
    const asked = this.#waiting.get(value.id);
    if (!asked) return false;
    this.#waiting.delete(value.id);
    clearTimeout(asked.timer);
    if (value.type === 'error') asked.reject(refused(value));
    else asked.resolve(value);
    return true;
  }

  /** @param {'lost' | 'stopped'} [code] */
  connectionLost(code = 'lost') {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject, timer } of waiting) {
      clearTimeout(timer);
      reject(new Disconnected(code));
    }
  }
}
