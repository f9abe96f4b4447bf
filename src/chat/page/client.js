// The chat as a client of `chat.v1.json` sees it: who one is, the rooms, what is under way. It shows nothing.
//
// What changes is told through the callbacks of `on`: state(), rooms(), room(room, what), notRoom(room, error), broadcast(text, time),
// kicked(name, reason), complaint(error), refused(post, error), signedIn(), missed(room, count), arrived(room, message), and
// frame(direction, text) for every message of the socket.

import { Connection } from './connection.js';
import { Conversations } from './conversations.js';
import { Marks } from './marks.js';
import { Outbox } from './outbox.js';
import { claimsOf, permits } from './permissions.js';
import { Requests } from './requests.js';
import { Room, keyOf } from './room.js';
import * as wire from './wire.js';

const RETRY_MS = 2_000;
/** For a `bye` that comes behind a refused `hello`. */
const BYE_MS = 200;
const TYPING_EVERY_MS = 2_000;
const READ_EVERY_MS = 1_000;
const PAGE = 50;
const DEFAULT_LIMITS = [['text', 4096], ['name', 64]];
/** Errors after which the same may well succeed later. */
const PASSING = new Set(['rate_limited', 'unavailable', 'shutting_down', 'not_joined']);
/** Reasons of a `bye` after which coming back by itself is of no use. */
const FINAL = new Set(['banned', 'name_taken', 'token_expired']);

export class Client {
  user;
  verified = false;
  limits = new Map(DEFAULT_LIMITS);
  features = new Set(); // what the server can do besides
  permissions = null; // what one may do everywhere; null when the server does not say
  rooms = new Map(); // key -> Room
  outbox = new Outbox();
  conversations = new Conversations(this);
  #marks = new Marks();
  #token;
  #on;
  #connection;
  #requests;
  #typedAt = new Map();
  #readTimer = 0;
  #readDue = new Map();

  constructor({ open, user, token, rooms, on }) {
    this.user = user;
    this.#token = token;
    this.#on = on;
    for (const name of rooms) if (!this.find(name)) this.#add(name);
    this.#connection = new Connection(open, {
      opened: () => this.#hello(),
      message: (value) => this.#receive(value),
      lost: () => this.#lost(),
      state: () => on.state(),
      frame: (direction, text) => on.frame(direction, text),
      ping: () => this.#requests.ask({ type: 'ping' }).catch(() => {}),
    });
    this.#requests = new Requests((command) => this.send(command), () => this.#connection.abandon());
  }

  start() {
    this.#connection.start();
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

  /** Whether the person may do something in a room: `post`, `moderate`, or `ban` everywhere. The server says so; of one that does not, the token. */
  may(permission, room) {
    const said = permission === 'ban' ? this.permissions : room.permissions;
    if (said) return said.includes(permission);
    const [asked, where] = permission === 'ban' ? ['moderate', '*'] : [permission, room.name];
    if (permission === 'post') return true;
    return this.verified && permits(claimsOf(this.#token ?? ''), asked, where);
  }

  /** Whether this person wrote a message: a guest of the same name did not. */
  isOwn({ user, verified }) {
    return user === this.user && verified === this.verified;
  }

  find(name) {
    return this.rooms.get(keyOf(name));
  }

  // ---- what the person does

  rename(user) {
    if (user === this.user && !this.verified && this.state.at !== 'parked') return;
    // A connection says once who it is.
    Object.assign(this, { user, verified: false });
    this.#connection.reopen();
  }

  /** Comes back with a token, or as a guest without one. What one person wrote to another is no business of the next one. */
  signIn(token, user) {
    const isSame = token && this.#token && claimsOf(token)?.sub === claimsOf(this.#token)?.sub;
    this.#token = token;
    if (isSame) return this.#connection.reopen();
    Object.assign(this, { user, verified: false });
    for (const [key, room] of this.rooms) if (room.isDirect) this.rooms.delete(key);
    this.#on.rooms();
    return this.#connection.reopen();
  }

  /** Tries again, now. */
  retry() {
    this.#connection.reopen();
  }

  enter(name) {
    const known = this.find(name);
    if (known) return known;
    const room = this.#add(name);
    if (this.isOpen) this.#join(room);
    this.#on.rooms();
    return room;
  }

  leave(room) {
    this.rooms.delete(room.key);
    if (room.isDirect) this.conversations.closed(room);
    else if (room.isJoined) this.send({ type: 'leave', room: room.name });
    this.#on.rooms();
  }

  post(room, text) {
    this.outbox.add(room.name, text, this.verified ? this.user : undefined);
    this.#flush();
    this.changed(room, 'outbox');
  }

  edit(room, seq, text) {
    return this.ask({ type: 'edit', room: room.name, seq, text });
  }

  delete(room, seq) {
    return this.ask({ type: 'delete', room: room.name, seq });
  }

  react(room, seq, emoji, remove) {
    return this.ask({ type: 'react', room: room.name, seq, emoji, remove });
  }

  kick(room, user, reason) {
    return this.ask({ type: 'kick', room: room.name, user, reason: reason || undefined });
  }

  ban(user, seconds, reason) {
    return this.ask({ type: 'ban', user, seconds, reason: reason || undefined });
  }

  /** More of the history, before what is shown. */
  async older(room) {
    const piece = room.shown;
    if (piece.messages.length === 0) return;
    room.older(piece, await this.history(room, { before: Math.ceil(piece.first) }));
    this.changed(room, 'history');
  }

  /** More of the history, after what is shown. */
  async newer(room) {
    const piece = room.shown;
    room.newer(piece, await this.historyAfter(room, piece.last));
    this.changed(room, 'history');
  }

  /** Makes a room show the history around a message; false when there is no such message. */
  async goTo(room, seq) {
    if (room.shown.find(seq)) return true;
    if (room.live.find(seq)) {
      room.goLive();
      return true;
    }
    return room.goBack(await this.history(room, { before: seq + 1 + PAGE / 2 }), seq);
  }

  async history(room, range) {
    return wire.history(await this.ask({ type: 'history', room: room.name, limit: PAGE, ...range }));
  }

  /** What follows a message, without a gap: an answer may be the newest part of what was asked for. */
  async historyAfter(room, seq) {
    const page = await this.history(room, { after: seq });
    while (page.messages.length > 0 && page.messages[0].seq > seq + 1) {
      const { messages } = await this.history(room, { after: seq, before: page.messages[0].seq });
      if (messages.length === 0) break;
      page.messages.unshift(...messages);
    }
    return page;
  }

  /** Rooms that the person may join, by name: those that begin like `prefix`, behind `after`. */
  async listRooms({ prefix, after, limit = PAGE }) {
    return wire.roomList(await this.ask({ type: 'rooms', prefix, after, limit }));
  }

  async search(room, query) {
    return wire.found(await this.ask({ type: 'search', room: room.name, query, limit: PAGE }));
  }

  typing(room) {
    const now = performance.now();
    if (!this.isOpen || room.isDirect || now - (this.#typedAt.get(room.name) ?? -Infinity) < TYPING_EVERY_MS) return;
    if (this.send({ type: 'typing', room: room.name })) this.#typedAt.set(room.name, now);
  }

  /** Everything in the room up to now has been seen. */
  seen(room) {
    const { last } = room.live;
    if (last <= room.read) return;
    room.seen(last);
    if (room.epoch !== null && last >= 1) this.#marks.set(this.user, room.name, room.epoch, Math.floor(last));
    this.#on.rooms();
    // Nothing is kept of a conversation with a guest.
    if (last < 1 || (room.isDirect && !this.verified)) return;
    this.#readDue.set(room.name, Math.floor(last));
    this.#readTimer ||= setTimeout(() => {
      this.#readTimer = 0;
      if (this.isOpen) for (const [name, read] of this.#readDue) this.send({ type: 'read', room: name, seq: read });
      this.#readDue.clear();
    }, READ_EVERY_MS);
  }

  /** Sends a command; the promise is for its answer. */
  ask(command) {
    return this.#requests.ask(command);
  }

  send(command) {
    return this.#connection.send(command);
  }

  changed(room, what) {
    this.#on.room(room, what);
  }

  arrived(room, message) {
    this.#on.arrived(room, message);
  }

  roomsChanged() {
    this.#on.rooms();
  }

  // ---- the connection

  #hello() {
    const who = this.#token ? { token: this.#token } : { user: this.user };
    this.ask({ type: 'hello', ...who }).then(
      (answer) => this.#welcome(wire.welcome(answer)),
      (error) => {
        // A `bye` that comes behind it says more.
        if (error.code) setTimeout(() => this.state.at === 'connecting' && this.#connection.park('refused', error), BYE_MS);
      },
    );
  }

  #welcome({ user, verified, limits, heartbeat, features, permissions }) {
    Object.assign(this, { user, verified, features, permissions, limits: new Map([...DEFAULT_LIMITS, ...limits]) });
    this.#on.signedIn();
    this.#connection.welcomed(heartbeat);
    for (const room of this.rooms.values()) this.#join(room);
    this.conversations.load();
    this.#flush();
  }

  #lost() {
    this.#requests.connectionLost();
    this.outbox.connectionLost();
    for (const room of this.rooms.values()) room.connectionLost();
  }

  #add(name) {
    const room = new Room(name, this);
    this.rooms.set(room.key, room);
    return room;
  }

  #join(room) {
    if (room.isDirect) return;
    this.ask({ type: 'join', room: room.name, since: room.since, history: PAGE }).then(
      (answer) => this.#joined(room, wire.joined(answer)),
      (error) => {
        if (!error.code) return;
        if (PASSING.has(error.code)) {
          const again = () => this.isOpen && this.rooms.get(room.key) === room && this.#join(room);
          setTimeout(again, error.retryAfter ?? RETRY_MS);
          return;
        }
        this.rooms.delete(room.key);
        this.#on.notRoom(room, error);
      },
    );
  }

  #joined(room, joined) {
    if (joined.room && joined.room !== room.name) this.#renamed(room, joined.room);
    const isFirst = room.epoch === null;
    const { seq } = room;
    if (isFirst) joined.read = Math.max(joined.read, this.#marks.of(this.user, room.name, joined.epoch));
    const isOther = room.joined(joined);
    if (isFirst) this.#marks.set(this.user, room.name, room.epoch, room.read);
    this.changed(room, isOther ? 'reset' : 'joined');
    if (!isFirst && !isOther && joined.seq > seq) this.#on.missed(room, joined.seq - seq);
    this.#flush();
    if (room.members.size < room.count) this.#who(room).catch(() => {});
  }

  /** The server knows the room by another form of its name. */
  #renamed(room, name) {
    this.rooms.delete(room.key);
    this.outbox.renamed(room.name, name);
    room.name = name;
    this.rooms.set(room.key, room);
    this.#on.rooms();
  }

  /** Everyone in the room, when `joined` named only some. */
  async #who(room) {
    const { members, count } = wire.members(await this.ask({ type: 'who', room: room.name }));
    room.members = new Map(members.map((member) => [member.client, member]));
    room.count = count;
    this.changed(room, 'people');
  }

  #flush() {
    if (!this.isOpen) return;
    const isReady = (name) => name.startsWith('@') || this.find(name)?.isJoined;
    for (const post of this.outbox.due(isReady, this.user)) {
      const { room, text, key } = post;
      const id = this.#requests.nextId;
      const command = room.startsWith('@') ? { type: 'direct', to: room.slice(1) } : { type: 'post', room };
      this.outbox.sent(id, post);
      this.ask({ ...command, text, key }).then(
        () => this.#posted(id),
        (error) => this.#notPosted(id, error),
      );
    }
  }

  #posted(id) {
    const post = this.outbox.answered(id);
    const room = post && this.find(post.room);
    if (room) this.changed(room, 'outbox');
    this.#flush();
  }

  #notPosted(id, error) {
    if (!error.code) return;
    if (PASSING.has(error.code)) {
      const delayed = this.outbox.postponed(id, error.code);
      const room = delayed && this.find(delayed.room);
      if (room) this.changed(room, 'outbox');
      if (delayed) setTimeout(() => this.#flush(), error.retryAfter ?? RETRY_MS);
      return;
    }
    const post = this.outbox.answered(id);
    if (post) this.#on.refused(post, error);
    this.#flush();
  }

  // ---- what the server says

  #receive(value) {
    if (this.#requests.answer(value)) return;
    const room = typeof value.room === 'string' ? this.find(value.room) : undefined;
    if (room) this.#receiveOfRoom(room, value);
    else if (value.type === 'direct') this.conversations.direct(wire.direct(value));
    else if (value.type === 'broadcast') this.#on.broadcast(String(value.text ?? ''), value.time);
    else if (value.type === 'bye') this.#bye(value);
    else if (value.type === 'error') this.#on.complaint(new wire.Refused(value));
  }

  #receiveOfRoom(room, value) {
    switch (value.type) {
      case 'message': {
        const message = wire.message(value);
        if (message === null) return undefined;
        const isNew = message.seq > room.seq;
        this.#told(room, room.message(message, value.prev), 'message');
        return isNew && this.#on.arrived(room, message);
      }
      case 'edited':
      case 'deleted':
      case 'reacted':
        return this.#told(room, room.changed(wire.change(value)), 'changed');
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
      case 'kicked':
        this.rooms.delete(room.key);
        return this.#on.kicked(room, String(value.reason ?? ''));
      default:
        return undefined;
    }
  }

  /** Something was told of a room; where it shows that something is missing, the room is joined again from there. */
  #told(room, isWhole, what) {
    if (isWhole) this.changed(room, what);
    else this.#join(room);
  }

  #bye({ reason, message, retry_after_ms: wait }) {
    const isTime = Number.isFinite(wait) && wait >= 0;
    if (FINAL.has(reason)) this.#connection.park(reason, new wire.Refused({ message }), isTime ? wait : undefined);
    else this.#connection.comeBackAfter(typeof reason === 'string' ? reason : undefined, isTime ? wait : 0);
  }
}
