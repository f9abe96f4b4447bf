// The chat as a client of `chat.v1.json` sees it: who one is, the rooms, what is under way. It knows no document.
//
// What changes is told through the callbacks of `on`: state(), rooms(), room(room, what), notice(text), refused(post, error).

import { connect } from './connection.js';
import { Outbox } from './outbox.js';
import { Room } from './room.js';

const ANSWER_LIMIT_MS = 15_000;
const RETRY_MS = 2_000;
const TYPING_EVERY_MS = 2_000;
const READ_EVERY_MS = 1_000;
const PAGE = 50;
const DEFAULT_LIMITS = { text: 4096, name: 64 };
/** Errors after which the same post may well be taken later. */
const PASSING = new Set(['rate_limited', 'unavailable', 'shutting_down', 'not_joined']);
const GOODBYES = {
  banned: 'You are banned from this server.',
  name_taken: 'Somebody with a proof of it has taken your name. Choose another one.',
  token_expired: 'Your pass has expired. Sign in again.',
  disconnected: 'The server has ended this connection.',
  flooding: 'That was too much at once. Wait a little.',
};

export class Client {
  user;
  verified = false;
  isOpen = false; // and welcome
  limits = DEFAULT_LIMITS;
  rooms = new Map();
  outbox = new Outbox();
  #token;
  #on;
  #connection;
  #nextId = 1;
  #asked = new Map(); // id -> { resolve, reject, timer }
  #typedAt = new Map();
  #readTimer = 0;
  #readDue = new Map();

  constructor({ url, user, token, rooms, on }) {
    this.user = user;
    this.#token = token;
    this.#on = on;
    for (const name of rooms) this.rooms.set(name, new Room(name));
    this.#connection = connect(url, ['chat.v1.json'], {
      onState: (open) => (open ? this.#hello() : this.#lost()),
      onMessage: (message) => this.#receive(message),
    });
  }

  // ---- what the person does

  rename(user) {
    if (user === this.user && this.isOpen) return;
    this.user = user;
    // A connection says once who it is.
    this.#connection.reopen();
  }

  enter(name) {
    const known = this.rooms.get(name);
    if (known) return known;
    const room = new Room(name);
    this.rooms.set(name, room);
    if (this.isOpen) this.#join(room);
    this.#on.rooms();
    return room;
  }

  leave(room) {
    this.rooms.delete(room.name);
    if (room.isJoined && !room.isDirect) this.#send({ type: 'leave', room: room.name });
    this.#on.rooms();
  }

  post(room, text) {
    this.outbox.add(room.name, text);
    this.#flush();
    this.#on.room(room, 'outbox');
  }

  edit(room, seq, text) {
    return this.#ask({ type: 'edit', room: room.name, seq, text });
  }

  delete(room, seq) {
    return this.#ask({ type: 'delete', room: room.name, seq });
  }

  react(room, seq, emoji, remove) {
    return this.#ask({ type: 'react', room: room.name, seq, emoji, remove });
  }

  async older(room) {
    const before = room.messages[0]?.seq;
    const page = await this.#ask({ type: 'history', room: room.name, before, limit: PAGE });
    room.older(page);
    this.#on.room(room, 'older');
  }

  async search(room, query) {
    return (await this.#ask({ type: 'search', room: room.name, query, limit: PAGE })).messages;
  }

  /** Everyone in the room, when `joined` named only some. */
  async who(room) {
    const { members, count } = await this.#ask({ type: 'who', room: room.name });
    room.members = new Map(members.map((member) => [member.client, member]));
    room.count = count;
    this.#on.room(room, 'people');
  }

  typing(room) {
    const now = performance.now();
    if (room.isDirect || now - (this.#typedAt.get(room.name) ?? -Infinity) < TYPING_EVERY_MS) return;
    if (this.#send({ type: 'typing', room: room.name })) this.#typedAt.set(room.name, now);
  }

  /** Everything in the room up to now has been seen. */
  seen(room) {
    const seq = room.messages.at(-1)?.seq ?? 0;
    if (seq <= room.read) return;
    room.read = seq;
    this.#on.rooms();
    if (room.isDirect) return;
    this.#readDue.set(room.name, seq);
    this.#readTimer ||= setTimeout(() => {
      this.#readTimer = 0;
      for (const [name, seq] of this.#readDue) this.#send({ type: 'read', room: name, seq });
      this.#readDue.clear();
    }, READ_EVERY_MS);
  }

  // ---- the connection

  #hello() {
    this.#ask({ type: 'hello', user: this.user, token: this.#token }).then(
      (welcome) => {
        this.user = welcome.user;
        this.verified = welcome.verified;
        this.limits = { ...DEFAULT_LIMITS, ...welcome.limits };
        this.isOpen = true;
        this.#on.state();
        for (const room of this.rooms.values()) this.#join(room);
        this.#flush();
      },
      (error) => {
        if (!error.code) return;
        // Nothing changes by asking again, so the person has to.
        this.#connection.stayAway();
        this.#on.notice(error.message, 'name');
      },
    );
  }

  #lost() {
    this.isOpen = false;
    for (const { reject, timer } of this.#asked.values()) {
      clearTimeout(timer);
      reject(new Error('The connection was lost.'));
    }
    this.#asked.clear();
    this.outbox.connectionLost();
    for (const room of this.rooms.values()) room.connectionLost();
    this.#on.state();
  }

  #join(room) {
    if (room.isDirect) return;
    this.#ask({ type: 'join', room: room.name, since: room.since, history: PAGE }).then(
      (joined) => {
        if (joined.room !== room.name) this.#renamed(room, joined.room);
        const isReset = room.joined(joined);
        this.#on.room(room, isReset ? 'reset' : 'joined');
        this.#flush();
        if (room.members.size < room.count) this.who(room).catch(() => {});
      },
      (error) => {
        if (!error.code) return;
        if (error.code !== 'unavailable' && error.code !== 'rate_limited') {
          this.rooms.delete(room.name);
          this.#on.rooms();
          this.#on.notice(`You cannot join ${room.name}: ${error.message}`);
        } else {
          setTimeout(() => this.isOpen && this.rooms.has(room.name) && this.#join(room), error.retry_after_ms ?? RETRY_MS);
        }
      },
    );
  }

  /** The server knows the room by another form of its name. */
  #renamed(room, name) {
    this.rooms.delete(room.name);
    room.name = name;
    this.rooms.set(name, room);
    this.#on.rooms();
  }

  #flush() {
    if (!this.isOpen) return;
    const isReady = (name) => name.startsWith('@') || this.rooms.get(name)?.isJoined;
    for (const post of this.outbox.due(isReady)) {
      const { room, text, key } = post;
      const id = this.#nextId;
      const command = room.startsWith('@') ? { type: 'direct', to: room.slice(1) } : { type: 'post', room };
      this.outbox.sent(id, post);
      this.#ask({ ...command, text, key }).then(
        () => this.#posted(id),
        (error) => this.#notPosted(id, error),
      );
    }
  }

  #posted(id) {
    const post = this.outbox.answered(id);
    const room = post && this.rooms.get(post.room);
    if (room) this.#on.room(room, 'outbox');
    this.#flush();
  }

  #notPosted(id, error) {
    if (!error.code) return;
    if (PASSING.has(error.code)) {
      if (this.outbox.postponed(id)) setTimeout(() => this.#flush(), error.retry_after_ms ?? RETRY_MS);
      return;
    }
    const post = this.outbox.answered(id);
    if (post) this.#on.refused(post, error);
    this.#flush();
  }

  #send(command) {
    return this.#connection.send(command);
  }

  /** Sends a command; gives its answer, or fails with the `error` that came instead. */
  #ask(command) {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      if (!this.#send({ ...command, id })) {
        reject(new Error('Not connected.'));
        return;
      }
      const timer = setTimeout(() => this.#connection.abandon(), ANSWER_LIMIT_MS);
      this.#asked.set(id, { resolve, reject, timer });
    });
  }

  // ---- what the server says

  #receive(message) {
    const asked = message.id === undefined ? undefined : this.#asked.get(message.id);
    if (asked) {
      this.#asked.delete(message.id);
      clearTimeout(asked.timer);
      if (message.type === 'error') asked.reject(message);
      else asked.resolve(message);
      return;
    }
    const room = this.rooms.get(message.room);
    switch (message.type) {
      case 'message':
        return room && this.#told(room, room.message(message), 'message');
      case 'edited':
      case 'deleted':
      case 'reacted':
        return room && this.#told(room, room.changed(message), 'changed');
      case 'presence':
        room?.presence(message);
        return room && this.#on.room(room, 'people');
      case 'typing':
        room?.typing(message.user, performance.now());
        return room && this.#on.room(room, 'typing');
      case 'reads':
        return room && this.#reads(room, message.reads);
      case 'direct':
        return this.#direct(message);
      case 'lagged':
        return room && this.#told(room, false, 'message');
      case 'kicked':
        this.rooms.delete(message.room);
        this.#on.rooms();
        return this.#on.notice(`You were removed from ${message.room}${message.reason ? `: ${message.reason}` : '.'}`);
      case 'broadcast':
        return this.#on.notice(message.text);
      case 'bye':
        return this.#bye(message);
      case 'error':
        return this.#on.notice(message.message);
      default:
        return undefined;
    }
  }

  /** Something was told of a room; where it shows that something is missing, the room is joined again from there. */
  #told(room, isWhole, what) {
    if (isWhole) this.#on.room(room, what);
    else this.#join(room);
  }

  #reads(room, reads) {
    const own = reads.find(({ user }) => user === this.user);
    if (own) room.read = Math.max(room.read, own.seq);
    this.#on.rooms();
  }

  #direct({ from, to, seq, text, time }) {
    const name = `@${from === this.user ? to : from}`;
    const room = this.rooms.get(name) ?? this.enter(name);
    room.messages.push({ seq: seq ?? room.seq + 1, user: from, text, time });
    room.seq = room.messages.at(-1).seq;
    this.#on.room(room, 'message');
  }

  #bye({ reason, retry_after_ms: wait }) {
    if (GOODBYES[reason]) this.#on.notice(GOODBYES[reason], reason === 'name_taken' ? 'name' : undefined);
    if (['banned', 'name_taken', 'token_expired'].includes(reason)) this.#connection.stayAway();
    else this.#connection.comeBackAfter(wait ?? 0);
  }
}
