// The chat as a client of `chat.v1.json` sees it: who one is, the rooms, what is under way. It shows nothing, and knows no browser.

import { Connection } from './connection.js';
import { Conversations } from './conversations.js';
import { environmentOf } from './environment.js';
import { Disconnected, Refused } from './errors.js';
import { Marks } from './marks.js';
import { mentions } from './mentions.js';
import { Outbox } from './outbox.js';
import { Requests } from './requests.js';
import { Room, keyOf } from './room.js';
import { memoryStore } from './storage.js';
import * as wire from './wire.js';

/** @typedef {import('./wire.js').Message} Message */
/** @typedef {import('./outbox.js').Post} Post */
/** @typedef {ReturnType<typeof wire.ack>} Ack */
/**
 * A token, or what fetches one: it is called before the first connection, before the last one expires, and when the server takes it no more.
 * @typedef {string | undefined | (() => string | undefined | Promise<string | undefined>)} Token
 */
/**
 * What happens, by name.
 * @typedef {object} Events
 * @property {() => void} state the connection is in another state
 * @property {() => void} signedIn the server has said who one is
 * @property {() => void} rooms rooms came, went, or have other numbers
 * @property {(room: Room, message: Message) => void} message a message came, live; also one's own
 * @property {(room: Room, what: 'message' | 'changed' | 'people' | 'typing' | 'reads' | 'joined' | 'reset' | 'history' | 'outbox') => void} room
 *   something in a room has changed; after `reset` the room has begun again
 * @property {(room: Room, error: Refused) => void} notRoom a room could not be joined, and is gone
 * @property {(room: Room, reason: string) => void} kicked a moderator has removed this user from a room
 * @property {(room: Room, count: number) => void} missed so many messages came while the connection was away; they are in the room
 * @property {(post: Post, ack: Ack) => void} posted a post is where the answer says
 * @property {(post: Post, error: Refused) => void} refused a post was not taken, and will not be sent again
 * @property {(rooms: import('./wire.js').Unread[]) => void} unread what is unread has changed in rooms that are not joined; after `mine`
 * @property {(text: string, time: number) => void} broadcast an operator tells everyone
 * @property {(error: Refused) => void} complaint the server complains of something that was not asked for
 * @property {(direction: 'in' | 'out', text: string) => void} frame every message of the socket
 */
/**
 * @typedef {object} Options
 * @property {string | URL} [url] the server's address: `wss://chat.example/ws`
 * @property {() => import('./connection.js').Socket} [open] opens a socket, in the place of `url`
 * @property {any} [WebSocket] the class for sockets, where there is none of this name (Node.js before 22: that of `ws`)
 * @property {string} [user] the name of a guest
 * @property {Token} [token]
 * @property {Iterable<string>} [rooms] to be joined at once
 * @property {import('./storage.js').Store} [storage] for what should survive; several clients may share it
 * @property {import('./storage.js').Store} [outbox] for posts that are on their way; of this client alone
 * @property {import('./connection.js').Environment} [environment]
 * @property {Partial<Events>} [on] the first listeners
 */

const SUBPROTOCOL = 'chat.v1.json';
const RETRY_MS = 2_000;
/** For a token that cannot be had, or is not taken. */
const TOKEN_RETRY_MS = 30_000;
/** Fresh tokens that are not taken, one after the other, before the client takes a rest. */
const MOST_TOKENS = 2;
/** For a `bye` that comes behind a refused `hello`. */
const BYE_MS = 200;
/** A token is renewed so long before it expires; a short one when a tenth of its time is left. */
const RENEWAL_MS = 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const TYPING_EVERY_MS = 2_000;
const READ_EVERY_MS = 1_000;
const PAGE = 50;
/** @type {[string, number][]} */
const DEFAULT_LIMITS = [['text', 4096], ['name', 64]];
/** Errors after which the same may well succeed later. */
const PASSING = new Set(['rate_limited', 'unavailable', 'shutting_down', 'not_joined']);
/** Reasons of a `bye` after which coming back by itself is of no use. */
const FINAL = new Set(['banned', 'name_taken', 'token_expired']);

export class Client {
  /** Who one is. @type {string} */
  user;
  verified = false;
  /** Numbers that the server names, see docs/chat-protocol.md. @type {Map<string, number>} */
  limits = new Map(DEFAULT_LIMITS);
  /** What the server can do besides. @type {Set<string>} */
  features = new Set();
  /** What one may do everywhere; null when the server does not say. @type {string[] | null} */
  permissions = null;
  /** By {@link keyOf} of their names. @type {Map<string, Room>} */
  rooms = new Map();
  outbox;
  conversations;
  #marks;
  /** @type {Token} */
  #token;
  /** What the function for tokens has returned @type {Promise<string | undefined> | undefined} */
  #fetched;
  #refusedTokens = 0;
  /** Until the token is renewed @type {any} */
  #renewal = 0;
  /** @type {Map<string, Set<Function>>} */
  #listeners = new Map();
  #connection;
  #requests;
  /** @type {Map<string, number>} */
  #typedAt = new Map();
  /** @type {any} */
  #readTimer = 0;
  /** @type {Map<string, number>} */
  #readDue = new Map();
  /** Who waits until a room has been joined @type {Map<Room, { resolve: (room: Room) => void, reject: (error: Error) => void }[]>} */
  #joining = new Map();
  /** Who waits for the answer to a post @type {Map<string, { resolve: (ack: Ack) => void, reject: (error: Error) => void }>} */
  #saying = new Map();

  /** @param {Options} options */
  constructor({ url, open, WebSocket, user = '', token, rooms = [], storage = memoryStore(), outbox = memoryStore(), environment = environmentOf(), on = {} }) {
    this.user = user;
    this.#token = token;
    for (const [event, listener] of Object.entries(on)) this.on(/** @type {any} */ (event), /** @type {any} */ (listener));
    this.outbox = new Outbox(outbox);
    this.#marks = new Marks(storage);
    this.conversations = new Conversations(this, storage);
    for (const name of rooms) if (!this.find(name)) this.#add(name);
    const newSocket = open ?? (() => {
      const Socket = WebSocket ?? globalThis.WebSocket;
      if (!Socket) throw new TypeError('there is no WebSocket here: the option `WebSocket` brings one');
      return new Socket(String(url).replace(/^http/, 'ws'), [SUBPROTOCOL]);
    });
    this.#connection = new Connection(newSocket, environment, {
      opened: () => this.#hello(),
      message: (value) => this.#receive(value),
      lost: () => this.#lost(),
      state: () => this.#tell('state'),
      frame: (direction, text) => this.#tell('frame', direction, text),
      ping: () => void this.ask({ type: 'ping' }).catch(() => {}),
      ended: (why) => why === 'token_expired' && this.#needsToken(),
    });
    this.#requests = new Requests((command) => this.send(command), () => this.#connection.abandon());
  }

  /**
   * Calls `listener` at each event of this name, until the function that is returned is called.
   * @template {keyof Events} E
   * @param {E} event @param {Events[E]} listener
   * @returns {() => void}
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  start() {
    this.#connection.start();
  }

  /** Ends the connection. What waits for an answer fails with {@link Disconnected}; posts stay in the outbox. */
  stop() {
    this.#connection.stop();
    clearTimeout(this.#readTimer);
    clearTimeout(this.#renewal);
    this.#readTimer = 0;
    this.save();
    const waiting = [...[...this.#joining.values()].flat(), ...this.#saying.values()];
    this.#joining.clear();
    this.#saying.clear();
    for (const { reject } of waiting) reject(new Disconnected('stopped'));
  }

  /** Writes what is not in the storage yet: for a page that goes away. */
  save() {
    this.#marks.write();
  }

  get state() {
    return this.#connection.state;
  }

  get isOpen() {
    return this.state.at === 'open';
  }

  /** Milliseconds for which the server has owed an answer. */
  get waitingMs() {
    return this.#requests.waitingMs;
  }

  /**
   * Whether one may do something in a room, as far as the server has said so: `post`, `moderate`, or `ban` everywhere.
   * @param {'post' | 'moderate' | 'ban'} permission @param {Room} room
   */
  may(permission, room) {
    const said = permission === 'ban' ? this.permissions : room.permissions;
    return said ? said.includes(permission) : permission === 'post';
  }

  /**
   * Whether this person wrote a message: a guest of the same name did not.
   * @param {{ user: string, verified: boolean }} message
   */
  isOwn({ user, verified }) {
    return user === this.user && verified === this.verified;
  }

  /** @param {string} text @param {string} name */
  mentions(text, name) {
    return mentions(text, name);
  }

  /**
   * A room that one is in, or the conversation with `@somebody`.
   * @param {string} name
   */
  find(name) {
    return this.rooms.get(keyOf(name));
  }

  // ---- what the person does

  /**
   * Another name, as a guest.
   * @param {string} user
   */
  rename(user) {
    if (user === this.user && !this.verified && this.state.at !== 'parked') return;
    // A connection says once who it is.
    this.#token = undefined;
    Object.assign(this, { user, verified: false });
    this.#connection.reopen();
  }

  /**
   * Comes back with a token, or as a guest without one. What one person wrote to another is no business of the next one.
   * @param {Token} token @param {string} [user]
   */
  signIn(token, user = this.user) {
    const isSame = typeof token === 'string' && typeof this.#token === 'string' && subjectOf(token) === subjectOf(this.#token);
    this.#token = token;
    this.#fetched = undefined;
    this.#refusedTokens = 0;
    if (isSame) return this.#connection.reopen();
    Object.assign(this, { user, verified: false });
    for (const [key, room] of this.rooms) if (room.isDirect) this.rooms.delete(key);
    this.#tell('rooms');
    return this.#connection.reopen();
  }

  /** Tries again, now. */
  retry() {
    this.#connection.reopen();
  }

  /**
   * Goes into a room, as soon as there is a connection; `@somebody` is the conversation with them.
   * @param {string} name
   */
  enter(name) {
    const known = this.find(name);
    if (known) return known;
    const room = this.#add(name);
    if (this.isOpen) this.#join(room);
    this.#tell('rooms');
    return room;
  }

  /**
   * The same; the promise is for the room once it has been joined, and fails with {@link Refused} when that is not possible.
   * @param {string} name
   * @returns {Promise<Room>}
   */
  async join(name) {
    const room = this.enter(name);
    if (room.isDirect) {
      if (this.isOpen) await this.conversations.open(room);
      return room;
    }
    if (room.isLive) return room;
    return new Promise((resolve, reject) => {
      this.#joining.set(room, [...(this.#joining.get(room) ?? []), { resolve, reject }]);
    });
  }

  /** @param {Room} room */
  leave(room) {
    this.rooms.delete(room.key);
    if (room.isDirect) this.conversations.closed(room);
    else if (room.isJoined) this.send({ type: 'leave', room: room.name });
    this.#joinEnded(room, new Disconnected('stopped'));
    this.#tell('rooms');
  }

  /**
   * Says something, now or when there is a connection: it is in the outbox until the server has it, and is said once.
   * @param {Room} room @param {string} text @param {import('./outbox.js').Carried} [carried]
   */
  post(room, text, carried) {
    const post = this.outbox.add(room.name, text, this.verified ? this.user : undefined, carried);
    this.#flush();
    this.changed(room, 'outbox');
    return post;
  }

  /**
   * The same; the promise is for the answer. It fails with {@link Refused} when the server does not take it.
   * @param {Room} room @param {string} text @param {import('./outbox.js').Carried} [carried]
   * @returns {Promise<Ack>}
   */
  say(room, text, carried) {
    return new Promise((resolve, reject) => {
      // Its answer cannot come before it is waited for.
      this.#saying.set(this.post(room, text, carried).key, { resolve, reject });
    });
  }

  /**
   * Another text for a message, and other data where there is some.
   * @param {Room} room @param {number} seq @param {string} text @param {any} [data]
   */
  edit(room, seq, text, data) {
    return this.ask({ type: 'edit', room: room.name, seq, text, data });
  }

  /** @param {Room} room @param {number} seq */
  delete(room, seq) {
    return this.ask({ type: 'delete', room: room.name, seq });
  }

  /** @param {Room} room @param {number} seq @param {string} emoji @param {boolean} [remove] */
  react(room, seq, emoji, remove = false) {
    return this.ask({ type: 'react', room: room.name, seq, emoji, remove });
  }

  /** @param {Room} room @param {string} user @param {string} [reason] */
  kick(room, user, reason) {
    return this.ask({ type: 'kick', room: room.name, user, reason: reason || undefined });
  }

  /** @param {string} user @param {number} [seconds] @param {string} [reason] */
  ban(user, seconds, reason) {
    return this.ask({ type: 'ban', user, seconds, reason: reason || undefined });
  }

  /** @param {string} user */
  unban(user) {
    return this.ask({ type: 'unban', user });
  }

  /**
   * More of the history, before what is shown.
   * @param {Room} room
   */
  async older(room) {
    const piece = room.shown;
    if (piece.messages.length === 0) return;
    room.older(piece, await this.history(room, { before: Math.ceil(piece.first) }));
    this.changed(room, 'history');
  }

  /**
   * More of the history, after what is shown.
   * @param {Room} room
   */
  async newer(room) {
    const piece = room.shown;
    room.newer(piece, await this.historyAfter(room, piece.last));
    this.changed(room, 'history');
  }

  /**
   * Makes a room show the history around a message; false when there is no such message.
   * @param {Room} room @param {number} seq
   */
  async goTo(room, seq) {
    if (room.shown.find(seq)) return true;
    if (room.live.find(seq)) {
      room.goLive();
      return true;
    }
    return room.goBack(await this.history(room, { before: seq + 1 + PAGE / 2 }), seq);
  }

  /**
   * A page of the history: the newest messages before `before`, or the oldest after `after`.
   * @param {Room} room @param {{ before?: number, after?: number, limit?: number }} [range]
   */
  async history(room, range = {}) {
    return wire.history(await this.ask({ type: 'history', room: room.name, limit: PAGE, ...range }));
  }

  /**
   * What follows a message, without a gap: an answer may be the newest part of what was asked for.
   * @param {Room} room @param {number} seq
   */
  async historyAfter(room, seq) {
    const page = await this.history(room, { after: seq });
    while (page.messages.length > 0 && page.messages[0].seq > seq + 1) {
      const { messages } = await this.history(room, { after: seq, before: page.messages[0].seq });
      if (messages.length === 0) break;
      page.messages.unshift(...messages);
    }
    return page;
  }

  /**
   * Rooms that one may join, by name: those that begin like `prefix`, behind `after`, which is the `next` of the page before.
   * @param {{ prefix?: string, after?: string, limit?: number }} [which]
   * @returns {Promise<{ rooms: import('./wire.js').ListedRoom[], next: string }>}
   */
  async listRooms({ prefix, after, limit = PAGE } = {}) {
    return wire.roomList(await this.ask({ type: 'rooms', prefix, after, limit }));
  }

  /**
   * Makes a room one of one's own: the server remembers it, and `mine` lists it. For those who are signed in.
   * @param {string} room @param {boolean} [isOn] false: it is one's own no more
   */
  subscribe(room, isOn = true) {
    return this.ask({ type: isOn ? 'subscribe' : 'unsubscribe', room });
  }

  /**
   * One's rooms and conversations with what is unread there, the newest first; `page` is the `next` of the page before. From then on
   * the event `unread` tells what changes.
   * @param {{ page?: string, limit?: number }} [which]
   * @returns {Promise<{ rooms: import('./wire.js').OwnRoom[], next: string }>}
   */
  async mine({ page, limit } = {}) {
    return wire.mine(await this.ask({ type: 'mine', page, limit }));
  }

  /**
   * Messages with all words of the query, the newest first.
   * @param {Room} room @param {string} query
   */
  async search(room, query) {
    return wire.found(await this.ask({ type: 'search', room: room.name, query, limit: PAGE }));
  }

  /**
   * The person is writing; told to others once in a while, however often this is called.
   * @param {Room} room
   */
  typing(room) {
    const now = performance.now();
    if (!this.isOpen || (room.isDirect && !(this.verified && this.features.has('pairs'))) || now - (this.#typedAt.get(room.name) ?? -Infinity) < TYPING_EVERY_MS) return;
    if (this.send({ type: 'typing', room: room.name })) this.#typedAt.set(room.name, now);
  }

  /**
   * Everything in the room up to now has been seen.
   * @param {Room} room
   */
  seen(room) {
    const { last } = room.live;
    if (last <= room.read) return;
    room.seen(last);
    if (room.epoch !== null && last >= 1) this.#marks.set(this.user, room.name, room.epoch, Math.floor(last));
    this.#tell('rooms');
    // Nothing is kept of a conversation with a guest.
    if (last < 1 || (room.isDirect && !this.verified)) return;
    this.#readDue.set(room.name, Math.floor(last));
    this.#readTimer ||= setTimeout(() => {
      this.#readTimer = 0;
      if (this.isOpen) for (const [name, read] of this.#readDue) this.send({ type: 'read', room: name, seq: read });
      this.#readDue.clear();
    }, READ_EVERY_MS);
  }

  /**
   * Sends a command of docs/chat-protocol.md; the promise is for its answer. It fails with {@link Refused} or {@link Disconnected}.
   * @param {object} command
   * @returns {Promise<any>}
   */
  ask(command) {
    return this.#requests.ask(command);
  }

  /**
   * Sends a command that has no answer; false when there is no connection.
   * @param {object} command
   */
  send(command) {
    return this.#connection.send(command);
  }

  // ---- for the parts of the client

  /** @param {Room} room @param {Parameters<Events['room']>[1]} what */
  changed(room, what) {
    this.#tell('room', room, what);
  }

  /** @param {Room} room @param {Message} message */
  arrived(room, message) {
    this.#tell('message', room, message);
  }

  roomsChanged() {
    this.#tell('rooms');
  }

  /**
   * What a listener does wrong is no business of the client.
   * @template {keyof Events} E
   * @param {E} event @param {Parameters<Events[E]>} values
   */
  #tell(event, ...values) {
    for (const listener of this.#listeners.get(event) ?? []) {
      try {
        listener(...values);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }

  // ---- the connection

  async #hello() {
    const { attempt } = this.#connection;
    const isCurrent = () => this.#connection.attempt === attempt;
    let token;
    try {
      token = await this.#currentToken();
    } catch (error) {
      this.#fetched = undefined;
      if (isCurrent()) this.#connection.park('no_token', /** @type {Error} */ (error), TOKEN_RETRY_MS);
      return;
    }
    if (!isCurrent()) return;
    const who = token ? { token } : { user: this.user || undefined };
    this.ask({ type: 'hello', ...who }).then(
      (answer) => this.#welcome(wire.welcome(answer)),
      (error) => {
        if (!(error instanceof Refused)) return;
        if (error.field === 'token' && this.#needsToken()) {
          this.#connection.abandon();
          return;
        }
        const wait = typeof this.#token === 'function' ? TOKEN_RETRY_MS : undefined;
        const giveUp = () => {
          if (!isCurrent() || this.state.at !== 'connecting') return;
          if (PASSING.has(error.code)) {
            this.#connection.comeBackAfter(error.code, error.retryAfter ?? RETRY_MS);
            this.#connection.abandon();
          } else {
            this.#connection.park('refused', error, wait);
          }
        };
        // A `bye` that comes behind it says more.
        setTimeout(giveUp, BYE_MS);
      },
    );
  }

  #currentToken() {
    if (typeof this.#token !== 'function') return this.#token;
    this.#fetched ??= Promise.resolve(this.#token());
    return this.#fetched;
  }

  /** The token is taken no more. Whether there may be another one. */
  #needsToken() {
    if (typeof this.#token !== 'function' || this.#refusedTokens >= MOST_TOKENS) return false;
    this.#refusedTokens += 1;
    this.#fetched = undefined;
    return true;
  }

  /** @param {ReturnType<typeof wire.welcome>} welcome */
  #welcome({ user, verified, limits, heartbeat, features, permissions, expires }) {
    Object.assign(this, { user, verified, features, permissions, limits: new Map([...DEFAULT_LIMITS, ...limits]) });
    this.#refusedTokens = 0;
    this.#renewIn(expires);
    this.#tell('signedIn');
    this.#connection.welcomed(heartbeat);
    for (const room of this.rooms.values()) this.#join(room);
    this.conversations.load();
    this.#flush();
  }

  /** @param {number} expires in so many milliseconds the token does */
  #renewIn(expires) {
    clearTimeout(this.#renewal);
    if (expires === 0 || typeof this.#token !== 'function' || !this.features.has('refresh')) return;
    const wait = expires - Math.min(RENEWAL_MS, expires / 10);
    if (wait < LONGEST_TIMER_MS) this.#renewal = setTimeout(() => this.#renew().catch(() => {}), wait);
  }

  /** Where that fails the connection ends with the token, and the next one begins with another. */
  async #renew() {
    this.#fetched = undefined;
    const token = await this.#currentToken();
    const { user, permissions, rooms, expires } = wire.refreshed(await this.ask({ type: 'refresh', token }));
    Object.assign(this, { user, permissions });
    for (const [name, permitted] of rooms) Object.assign(this.find(name) ?? {}, { permissions: permitted });
    this.#renewIn(expires);
    this.#tell('signedIn');
  }

  #lost() {
    clearTimeout(this.#renewal);
    this.#requests.connectionLost();
    this.outbox.connectionLost();
    for (const room of this.rooms.values()) room.connectionLost();
  }

  /** @param {string} name */
  #add(name) {
    const room = new Room(name, this);
    this.rooms.set(room.key, room);
    return room;
  }

  /** @param {Room} room */
  #join(room) {
    if (room.isDirect) return;
    this.ask({ type: 'join', room: room.name, since: room.since, history: PAGE }).then(
      (answer) => this.rooms.get(room.key) === room && this.#joined(room, wire.joined(answer)),
      (error) => {
        if (!(error instanceof Refused) || this.rooms.get(room.key) !== room) return;
        if (PASSING.has(error.code)) {
          const again = () => this.isOpen && this.rooms.get(room.key) === room && this.#join(room);
          setTimeout(again, error.retryAfter ?? RETRY_MS);
          return;
        }
        this.rooms.delete(room.key);
        this.#joinEnded(room, error);
        this.#tell('notRoom', room, error);
      },
    );
  }

  /** @param {Room} room @param {ReturnType<typeof wire.joined>} joined */
  #joined(room, joined) {
    if (joined.room && joined.room !== room.name) this.#renamed(room, joined.room);
    const isFirst = room.epoch === null;
    const { seq } = room;
    if (isFirst) joined.read = Math.max(joined.read, this.#marks.of(this.user, room.name, joined.epoch));
    const isOther = room.joined(joined);
    if (isFirst) this.#marks.set(this.user, room.name, joined.epoch, room.read);
    this.changed(room, isOther ? 'reset' : 'joined');
    this.#joinEnded(room);
    if (!isFirst && !isOther && joined.seq > seq) this.#tell('missed', room, joined.seq - seq);
    this.#flush();
    if (room.members.size < room.count) this.#who(room).catch(() => {});
  }

  /** @param {Room} room @param {Error} [error] */
  #joinEnded(room, error) {
    const waiting = this.#joining.get(room) ?? [];
    this.#joining.delete(room);
    for (const { resolve, reject } of waiting) {
      if (error) reject(error);
      else resolve(room);
    }
  }

  /**
   * The server knows the room by another form of its name.
   * @param {Room} room @param {string} name
   */
  #renamed(room, name) {
    this.rooms.delete(room.key);
    this.outbox.renamed(room.name, name);
    room.name = name;
    this.rooms.set(room.key, room);
    this.#tell('rooms');
  }

  /**
   * Everyone in the room, when `joined` named only some.
   * @param {Room} room
   */
  async #who(room) {
    const { members, count } = wire.members(await this.ask({ type: 'who', room: room.name }));
    room.members = new Map(members.map((member) => [member.client, member]));
    room.count = count;
    this.changed(room, 'people');
  }

  #flush() {
    if (!this.isOpen) return;
    const isReady = (/** @type {string} */ name) => name.startsWith('@') || Boolean(this.find(name)?.isJoined);
    for (const post of this.outbox.due(isReady, this.user)) {
      const { room, text, key, data, replyTo } = post;
      const id = this.#requests.nextId;
      const command = room.startsWith('@') ? { type: 'direct', to: room.slice(1) } : { type: 'post', room };
      this.outbox.sent(id, post);
      this.ask({ ...command, text, key, data, reply_to: replyTo }).then(
        (answer) => this.#posted(id, wire.ack(answer)),
        (error) => this.#notPosted(id, error),
      );
    }
  }

  /** @param {number} id @param {Ack} ack */
  #posted(id, ack) {
    const post = this.outbox.answered(id);
    const room = post && this.find(post.room);
    if (room) this.changed(room, 'outbox');
    if (post) {
      this.#saying.get(post.key)?.resolve(ack);
      this.#saying.delete(post.key);
      this.#tell('posted', post, ack);
    }
    this.#flush();
  }

  /** @param {number} id @param {Error} error */
  #notPosted(id, error) {
    if (!(error instanceof Refused)) return;
    if (PASSING.has(error.code)) {
      const delayed = this.outbox.postponed(id, error.code);
      const room = delayed && this.find(delayed.room);
      if (room) this.changed(room, 'outbox');
      if (delayed) setTimeout(() => this.#flush(), error.retryAfter ?? RETRY_MS);
      return;
    }
    const post = this.outbox.answered(id);
    if (post) {
      this.#saying.get(post.key)?.reject(error);
      this.#saying.delete(post.key);
      this.#tell('refused', post, error);
    }
    this.#flush();
  }

  // ---- what the server says

  /** @param {any} value */
  #receive(value) {
    if (this.#requests.answer(value)) return;
    /** @type {Room | undefined} */
    const room = typeof value.room === 'string' ? this.find(value.room) : undefined;
    if (room) this.#receiveOfRoom(room, value);
    else if (value.type === 'direct') this.conversations.direct(wire.direct(value));
    else if (value.type === 'unread') this.#tell('unread', wire.unread(value));
    else if (value.type === 'broadcast') this.#tell('broadcast', String(value.text ?? ''), value.time);
    else if (value.type === 'bye') this.#bye(value);
    else if (value.type === 'error') this.#tell('complaint', wire.refused(value));
  }

  /** @param {Room} room @param {any} value */
  #receiveOfRoom(room, value) {
    switch (value.type) {
      case 'message': {
        const message = wire.message(value);
        if (message === null) return undefined;
        const isNew = message.seq > room.seq;
        this.#told(room, room.message(message, value.prev), 'message');
        return isNew && this.arrived(room, message);
      }
      case 'edited':
      case 'deleted':
      case 'reacted': {
        const change = wire.change(value);
        return change && this.#told(room, room.changed(change), 'changed');
      }
      case 'epoch':
        return this.#told(room, room.forked(wire.epoch(value)), 'changed');
      case 'presence':
        room.presence(wire.presence(value));
        return this.changed(room, 'people');
      case 'typing':
        room.typing(String(value.user ?? ''), performance.now());
        return this.changed(room, 'typing');
      case 'reads': {
        for (const one of wire.reads(value)) {
          if (this.isOwn(one)) room.seen(one.seq);
          else room.readBy(one.user, one.seq);
        }
        return this.changed(room, 'reads');
      }
      case 'lagged':
        return this.#told(room, false, 'message');
      case 'kicked': {
        this.rooms.delete(room.key);
        this.#joinEnded(room, new Disconnected('stopped'));
        return this.#tell('kicked', room, String(value.reason ?? ''));
      }
      default:
        return undefined;
    }
  }

  /**
   * Something was told of a room; where it shows that something is missing, the room is joined again from there.
   * @param {Room} room @param {boolean} isWhole @param {'message' | 'changed'} what
   */
  #told(room, isWhole, what) {
    if (isWhole) this.changed(room, what);
    else if (room.isDirect) this.conversations.reload(room);
    else this.#join(room);
  }

  /** @param {any} value */
  #bye({ reason, message, retry_after_ms: wait }) {
    const isTime = Number.isFinite(wait) && wait >= 0;
    const isFinal = FINAL.has(reason) && !(reason === 'token_expired' && this.#needsToken());
    if (isFinal) this.#connection.park(reason, wire.refused({ message }), isTime ? wait : undefined);
    else this.#connection.comeBackAfter(typeof reason === 'string' ? reason : undefined, isTime ? wait : 0);
  }
}

/**
 * Whom a token is about; undefined when it does not say. Nothing is checked: that is for the server.
 * @param {string} token
 */
function subjectOf(token) {
  try {
    const part = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const octets = Uint8Array.from(atob(part), (char) => /** @type {number} */ (char.codePointAt(0)));
    return JSON.parse(new TextDecoder().decode(octets)).sub;
  } catch {
    return undefined;
  }
}
