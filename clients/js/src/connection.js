// One WebSocket that is kept open, and what is true of it at any moment.
//
// A socket says nothing when its network is gone. So silence of one heartbeat makes the connection ask for a sign of life, and so
// does each return of the person or of the network; an answer that does not come in time ends the socket.

import { GRACE_MS } from './requests.js';
import { object } from './wire.js';

/**
 * What is true of the connection. `at` is one of:
 * - `connecting`: the socket is being opened, or the server has not said `welcome` yet
 * - `open`: the server has said `welcome`, and was heard of not long ago
 * - `waiting`: the next attempt comes at `until` (as of `performance.now()`)
 * - `offline`: the same, while it is known that there is no network
 * - `parked`: nothing is attempted before `retry`, `rename` or `signIn`, or before `until` when there is one
 * - `stopped`: before `start` and after `stop`
 * @typedef {object} State
 * @property {'connecting' | 'open' | 'waiting' | 'offline' | 'parked' | 'stopped'} at
 * @property {string} [why] the reason that the server gave: `shutting_down`, `banned`, `name_taken`, `token_expired`, `refused`, …
 * @property {Error} [detail] what the server said besides
 * @property {number} [until] see above
 */
/**
 * A WebSocket, of a browser or of a library for Node.js.
 * @typedef {object} Socket
 * @property {number} readyState
 * @property {(data: string) => void} send
 * @property {() => void} close
 * @property {(type: string, listener: (event: any) => void) => void} addEventListener
 */
/**
 * What is around the client.
 * @typedef {object} Environment
 * @property {() => boolean} isOnline false when it is known that there is no network
 * @property {(wake: () => void) => () => void} onWake calls `wake` when the network or the person comes back; returns how to end that
 */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
/** From the attempt to `welcome`. */
const OPENING_LIMIT_MS = 10_000;
/** An attempt of this age is given up for a new one when the person comes back. */
const STALLED_MS = 2_000;
const DEFAULT_HEARTBEAT_MS = 25_000;
/** For the answer to a sign of life: after silence, and when the person comes back. */
const ANSWER_LIMIT_MS = 5_000;
const PROMPT_LIMIT_MS = 3_000;
const OPEN = 1;
/** Close codes that say why, should the `bye` before them be lost. */
const CODES = new Map([[4001, 'name_taken'], [4002, 'banned'], [4003, 'token_expired']]);

export class Connection {
  /** @type {State} */
  state = { at: 'stopped' };
  #newSocket;
  #environment;
  #on;
  /** @type {Socket | null} */
  #socket = null;
  /** Of the attempt, or until the next one @type {any} */
  #timer = 0;
  /** Until silence is too long @type {any} */
  #lifeTimer = 0;
  /** Until a sign of life is overdue @type {any} */
  #answerTimer = 0;
  #answerBy = 0;
  #failures = 0;
  #notBefore = 0;
  /** @type {string | undefined} */
  #why;
  #heardAt = 0;
  #attemptAt = 0;
  /** Counts the sockets: what one was asked says nothing of the next one. */
  attempt = 0;
  #heartbeat = DEFAULT_HEARTBEAT_MS;
  #asleep = () => {};

  /**
   * @param {() => Socket} newSocket returns a socket that is being opened, or is open
   * @param {Environment} environment
   * @param {{ opened(): void, message(value: any): void, lost(): void, state(): void, ping(): void, frame(direction: 'in' | 'out', text: string): void, ended(why: string): boolean }} on
   *   `ended`: whether something is done about a final reason, so that the connection need not park
   */
  constructor(newSocket, environment, on) {
    this.#newSocket = newSocket;
    this.#environment = environment;
    this.#on = on;
  }

  start() {
    if (this.state.at !== 'stopped') return;
    this.#asleep = this.#environment.onWake(() => this.check());
    this.#open();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#asleep();
    this.#be({ at: 'stopped' });
    this.#drop();
  }

  /** @param {object} value */
  send(value) {
    if (this.#socket?.readyState !== OPEN) return false;
    const text = JSON.stringify(value);
    this.#socket.send(text);
    this.#on.frame('out', text);
    return true;
  }

  /**
   * The server has let us in.
   * @param {number} heartbeat
   */
  welcomed(heartbeat) {
    clearTimeout(this.#timer);
    this.#failures = 0;
    this.#why = undefined;
    this.#heartbeat = heartbeat || DEFAULT_HEARTBEAT_MS;
    this.#be({ at: 'open' });
    this.#watch(this.#heartbeat);
  }

  /**
   * The server ends the connection, and may want it back after `wait` milliseconds.
   * @param {string | undefined} why @param {number} wait
   */
  comeBackAfter(why, wait) {
    this.#why = why;
    this.#notBefore = performance.now() + wait;
  }

  /**
   * It is no use to come back before the person does something, or before so many milliseconds have passed.
   * @param {string} why @param {Error} [detail] @param {number} [wait]
   */
  park(why, detail, wait) {
    clearTimeout(this.#timer);
    const until = wait === undefined ? undefined : performance.now() + wait;
    // Longer than a timer can run: the person will have to.
    if (wait !== undefined && wait < 2 ** 31) this.#timer = setTimeout(() => this.reopen(), wait);
    this.#be({ at: 'parked', why, detail, until });
    this.#drop();
  }

  /** Gives up the socket that there may be, and opens another at once. */
  reopen() {
    if (this.state.at === 'stopped') return;
    this.#notBefore = 0;
    this.#why = undefined;
    this.#drop();
    this.#open();
  }

  /** Gives up a socket that does not answer, without waiting for its closing handshake. */
  abandon() {
    if (!this.#socket) return;
    this.#drop();
    this.#wait();
  }

  /** Finds out what is true, now. */
  check() {
    const { at } = this.state;
    const now = performance.now();
    if (at === 'open') this.#askForLife(PROMPT_LIMIT_MS);
    if ((at === 'waiting' || at === 'offline') && now >= this.#notBefore) this.#open();
    if (at === 'connecting' && now - this.#attemptAt > STALLED_MS) this.reopen();
  }

  #open() {
    clearTimeout(this.#timer);
    this.#attemptAt = performance.now();
    this.attempt += 1;
    const socket = this.#newSocket();
    this.#socket = socket;
    this.#timer = setTimeout(() => this.abandon(), OPENING_LIMIT_MS);
    const opened = () => this.#socket === socket && this.#on.opened();
    if (socket.readyState === OPEN) queueMicrotask(opened);
    else socket.addEventListener('open', opened);
    socket.addEventListener('message', ({ data }) => {
      if (this.#socket === socket) this.#heard(String(data));
    });
    // Libraries end the process for an error that nobody hears; `close` follows it.
    socket.addEventListener('error', () => {});
    socket.addEventListener('close', ({ code }) => {
      if (this.#socket !== socket) return;
      this.#drop();
      const why = CODES.get(code);
      if (why && !this.#on.ended(why)) this.park(why);
      else this.#wait();
    });
    this.#be({ at: 'connecting', why: this.#why });
  }

  /** @param {string} data */
  #heard(data) {
    this.#heardAt = performance.now();
    clearTimeout(this.#answerTimer);
    this.#answerTimer = 0;
    this.#on.frame('in', data);
    const value = object(data);
    if (value) this.#on.message(value);
  }

  /** Without a socket from here on. */
  #drop() {
    const socket = this.#socket;
    clearTimeout(this.#lifeTimer);
    clearTimeout(this.#answerTimer);
    this.#answerTimer = 0;
    if (!socket) return;
    this.#socket = null;
    socket.close();
    this.#on.lost();
  }

  #wait() {
    clearTimeout(this.#timer);
    // Jitter over the whole step keeps the clients of a restarted server from coming back in one wave.
    const step = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
    this.#failures += 1;
    const now = performance.now();
    const until = Math.max(this.#notBefore, now + step / 2 + (Math.random() * step) / 2);
    this.#timer = setTimeout(() => this.#open(), until - now);
    this.#be({ at: this.#environment.isOnline() ? 'waiting' : 'offline', until, why: this.#why });
  }

  /** @param {number} inMs */
  #watch(inMs) {
    clearTimeout(this.#lifeTimer);
    this.#lifeTimer = setTimeout(() => {
      const silence = performance.now() - this.#heardAt;
      if (silence >= this.#heartbeat) this.#askForLife(ANSWER_LIMIT_MS);
      this.#watch(silence >= this.#heartbeat ? this.#heartbeat : this.#heartbeat - silence);
    }, inMs);
  }

  /** @param {number} limit */
  #askForLife(limit) {
    const by = performance.now() + limit;
    // Asking again gives nobody more time.
    if (this.#answerTimer && this.#answerBy <= by) return;
    clearTimeout(this.#answerTimer);
    this.#answerBy = by;
    this.#answerTimer = setTimeout(() => {
      this.#answerTimer = setTimeout(() => this.abandon(), GRACE_MS);
    }, limit);
    this.#on.ping();
  }

  /** @param {State} state */
  #be(state) {
    this.state = state;
    this.#on.state();
  }
}
