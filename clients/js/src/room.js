// What is known of a room, or of a conversation of two. No socket: events in, state out.

import { Piece } from './piece.js';

/** @typedef {import('./wire.js').Message} Message */
/** @typedef {import('./wire.js').Page} Page */

const TYPING_SHOWN_MS = 4_000;
/** Distance of messages that the server does not number from the numbered one before them. */
const UNNUMBERED_STEP = 1 / 65_536;

/**
 * What a room is found by: names that the server takes for the same.
 * @param {string} name
 */
export const keyOf = (name) => name.normalize('NFKC').toLowerCase();

export class Room {
  /** The name; of a conversation `@` and the name of the other. */
  name;
  /** Names one unbroken history; null before the room has been joined. @type {string | null} */
  epoch = null;
  /** The newest message. */
  seq = 0;
  /** The newest change. */
  rev = 0;
  /** Ends with the newest message. */
  live = new Piece();
  /** Another piece of the history, while somebody reads there. @type {Piece | null} */
  past = null;
  /** By connection. @type {Map<string, import('./wire.js').Member>} */
  members = new Map();
  /** Connections in the room. */
  count = 0;
  /** Everything up to here has been seen. */
  read = 0;
  /** Joined, on this connection. */
  isJoined = false;
  /** Joined, and without a gap. */
  isLive = false;
  /** A conversation whose newest messages are here. */
  isLoaded = false;
  /** Somebody reads further up, so nothing that is older is let go of. */
  isHeld = false;
  /** A conversation with somebody whose name is verified. */
  isVerified = false;
  /** The last message that was seen before somebody was away; null when nothing is new since. @type {number | null} */
  away = null;
  /** Unread messages that mention this person. */
  mentioned = 0;
  /** What the server says that is permitted here: `join`, `post`, `moderate`; null when it does not say. @type {string[] | null} */
  permissions = null;
  /** Everyone who wrote what was read here. @type {Set<string>} */
  authors = new Set();
  /** Who has seen how much: name -> the number of a message @type {Map<string, number>} */
  readers = new Map();
  #unread = 0;
  #client;
  /** What is here has been changed in ways that are history no more. */
  #isStale = false;
  /** User -> when it is over @type {Map<string, number>} */
  #typing = new Map();

  /**
   * @param {string} name
   * @param {{ user: string, isOwn(message: { user: string, verified: boolean }): boolean, mentions(text: string, name: string): boolean }} client
   */
  constructor(name, client) {
    this.name = name;
    this.#client = client;
  }

  get key() {
    return keyOf(this.name);
  }

  /** A conversation of two is no room that one joins. */
  get isDirect() {
    return this.name.startsWith('@');
  }

  get since() {
    return this.epoch === null || this.#isStale ? undefined : { epoch: this.epoch, seq: this.seq, rev: this.rev };
  }

  /** The piece that is read now. */
  get shown() {
    return this.past ?? this.live;
  }

  /** The messages that are here, up to the newest one. */
  get messages() {
    return this.live.messages;
  }

  /** Messages that the person has not seen; of those that are not here, one's own count too. */
  get unread() {
    if (this.epoch === null && !this.isDirect) return this.#unread;
    const before = Math.min(this.live.first, this.seq + 1) - this.read - 1;
    return this.#unread + Math.max(0, Math.floor(before));
  }

  /** The person comes here, or is away from here: what they have not seen is new. Where something is new already, it stays. */
  wasAway() {
    if (this.away === null && this.unread > 0) this.away = this.read;
  }

  /** The first message that is new and somebody else's, if it is here; 0 otherwise. */
  lineSeq() {
    const { messages, hasOlder, first } = this.shown;
    if (this.away === null || (hasOlder && first > this.away + 1)) return 0;
    for (let i = this.shown.indexAfter(this.away); i < messages.length; i += 1) if (!this.#client.isOwn(messages[i])) return messages[i].seq;
    return 0;
  }

  /** Messages since the person was away. */
  get sinceAway() {
    const away = this.away ?? this.seq;
    const own = this.live.messages.slice(this.live.indexAfter(away)).filter((message) => this.#client.isOwn(message)).length;
    return Math.max(1, Math.floor(this.seq - away) - own);
  }

  /**
   * Everything up to here has been seen.
   * @param {number} seq
   */
  seen(seq) {
    if (seq <= this.read) return;
    this.read = seq;
    this.#countUnread();
  }

  /**
   * `joined`. Returns whether the room has another history now.
   * @param {ReturnType<typeof import('./wire.js').joined>} joined
   */
  joined({ epoch, seq, rev, recovered, messages, changes, members, count, read, permissions }) {
    const isFirst = this.epoch === null;
    const isReset = !isFirst && !recovered;
    const isOther = isReset && this.epoch !== epoch;
    // Another run of the server has another epoch, whether or not its history is another one.
    const isLess = isOther && seq < this.seq;
    if (!recovered) {
      this.live = new Piece([], messages.length > 0 && messages[0].seq > 1);
      if (isOther || this.#isStale) this.past = null;
    }
    this.#isStale = false;
    Object.assign(this, { epoch, count, permissions, isJoined: true, isLive: true });
    if (isFirst) this.read = Math.min(read || seq, seq);
    else if (isOther) this.read = Math.min(this.read, seq);
    if (isLess) this.away = null;
    this.#append(messages);
    for (const change of changes) this.#apply(change);
    this.#joinPieces();
    Object.assign(this, { seq, rev });
    this.members = new Map(members.map((member) => [member.client, member]));
    this.#countUnread();
    return isLess;
  }

  /**
   * `message`. False when something is missing before it: then the room is to be joined again.
   * @param {Message} message @param {number} prev
   */
  message(message, prev) {
    if (!this.isLive || message.seq <= this.seq) return true;
    if (prev !== this.seq) {
      this.isLive = false;
      return false;
    }
    this.seq = message.seq;
    this.#append([message]);
    this.#typing.delete(message.user);
    return true;
  }

  /**
   * `edited`, `deleted`, `reacted`. False when one before it is missing.
   * @param {import('./wire.js').Change} change
   */
  changed(change) {
    // What comes before the room is joined again will be in the answer.
    if ((!this.isLive && !this.isDirect) || change.rev <= this.rev) return true;
    const isNext = change.rev === this.rev + 1;
    if (isNext || this.isDirect) this.rev = change.rev;
    if (!isNext) {
      this.isLive = false;
      return !this.isLoaded && this.isDirect;
    }
    this.#apply(change);
    return true;
  }

  /**
   * `epoch`: the history goes on under another name; up to a message and a change it is the same. False when more than that is here:
   * then the room is to be joined again.
   * @param {ReturnType<typeof import('./wire.js').epoch>} fork
   */
  forked({ epoch, seq, rev }) {
    if (this.epoch === null || epoch === '') return true;
    this.epoch = epoch;
    const isPart = this.seq <= seq && this.rev <= rev;
    // What an edit has changed cannot be taken back.
    if (this.rev > rev) this.#isStale = true;
    if (this.seq > seq) {
      for (const piece of [this.live, this.past]) piece?.cut(seq);
      this.seq = seq;
      this.read = Math.min(this.read, seq);
      this.#countUnread();
    }
    this.isLive &&= isPart;
    return isPart;
  }

  /**
   * `direct`. False when something is missing before it.
   * @param {Message} message
   */
  direct(message) {
    if (message.seq === 0) {
      const last = Math.max(this.live.last, this.seq);
      this.#append([{ ...message, seq: last + UNNUMBERED_STEP }]);
      return true;
    }
    const isNext = this.live.messages.length === 0 || message.seq <= Math.floor(this.live.last) + 1;
    this.seq = Math.max(this.seq, message.seq);
    if (isNext) this.#append([message]);
    return isNext;
  }

  /**
   * Messages of a conversation that came after those that are here.
   * @param {Page} page @param {boolean} isFirst
   */
  caughtUp({ messages }, isFirst) {
    if (isFirst) {
      this.live.prepend(messages);
      this.live.hasOlder = messages.length > 0 && messages[0].seq > 1;
    }
    this.#append(messages);
    this.seq = Math.max(this.seq, Math.floor(this.live.last));
    this.isLoaded = true;
    this.#countUnread();
  }

  /** Something of a conversation is missing: it is read again. */
  reload() {
    Object.assign(this, { live: new Piece(), past: null, isLoaded: false });
  }

  /** The history has begun again. */
  forget() {
    Object.assign(this, { epoch: null, live: new Piece(), past: null, seq: 0, rev: 0, read: 0, isLoaded: false, away: null });
    this.#countUnread();
  }

  /**
   * `history` before the piece that is shown.
   * @param {Piece} piece @param {Page} page
   */
  older(piece, { messages, more }) {
    this.#heardOf(messages);
    piece.prepend(messages);
    piece.hasOlder = more && messages.length > 0;
  }

  /**
   * `history` after the piece that is shown.
   * @param {Piece} piece @param {Page} page
   */
  newer(piece, { messages, more }) {
    this.#heardOf(messages);
    piece.append(messages);
    piece.hasNewer = more && messages.length > 0;
    this.#joinPieces();
  }

  /**
   * Shows the history around a message.
   * @param {Page} page @param {number} seq
   */
  goBack({ messages }, seq) {
    this.#heardOf(messages);
    this.past = new Piece(messages, messages.length > 0 && messages[0].seq > 1, true);
    this.#joinPieces();
    return Boolean(this.shown.find(seq));
  }

  goLive() {
    this.past = null;
  }

  /**
   * `presence`.
   * @param {ReturnType<typeof import('./wire.js').presence>} presence
   */
  presence({ joined, left, count }) {
    for (const member of joined) this.members.set(member.client, member);
    for (const { client, user } of left) {
      this.members.delete(client);
      this.#typing.delete(user);
    }
    this.count = count;
  }

  /** Names that a message may mention. */
  names() {
    return new Set([...this.authors, ...[...this.members.values()].map(({ user }) => user)]);
  }

  /** Who is here, each once, in order: a verified name and an unverified one are two. */
  people() {
    /** @type {Map<string, { user: string, verified: boolean, lookalike: boolean }>} */
    const people = new Map();
    for (const { user, verified, lookalike } of this.members.values()) {
      people.set(`${verified} ${user}`, { user, verified, lookalike });
    }
    return [...people.values()].sort((a, b) => a.user.localeCompare(b.user));
  }

  /**
   * `reads`: others have seen more.
   * @param {string} user @param {number} seq
   */
  readBy(user, seq) {
    this.readers.set(user, Math.max(seq, this.readers.get(user) ?? 0));
  }

  /** Who has seen the newest message, besides the one who reads and the one who wrote it. */
  whoHasRead() {
    const newest = this.live.messages.at(-1);
    if (!newest || this.isDirect) return [];
    const here = new Set([...this.members.values()].map(({ user }) => user));
    const have = [...this.readers].filter(([user, seq]) => seq >= newest.seq && here.has(user));
    return have.map(([user]) => user).filter((user) => user !== this.#client.user && user !== newest.user);
  }

  /** @param {string} user @param {number} now as of `performance.now()` */
  typing(user, now) {
    this.#typing.set(user, now + TYPING_SHOWN_MS);
  }

  /** @param {number} now as of `performance.now()` */
  whoTypes(now) {
    for (const [user, until] of this.#typing) if (until <= now) this.#typing.delete(user);
    return [...this.#typing.keys()];
  }

  connectionLost() {
    this.isJoined = false;
    this.isLive = false;
    this.#typing.clear();
  }

  /** @param {Message[]} messages */
  #heardOf(messages) {
    for (const { user } of messages) this.authors.add(user);
  }

  /** @param {Message[]} messages */
  #append(messages) {
    this.#heardOf(messages);
    for (const message of this.live.append(messages)) {
      this.#count(message);
    }
    if (!this.isHeld) this.live.trim();
  }

  #countUnread() {
    this.#unread = 0;
    this.mentioned = 0;
    const { messages } = this.live;
    for (let i = messages.length - 1; i >= 0 && messages[i].seq > this.read; i -= 1) this.#count(messages[i]);
  }

  /** @param {Message} message */
  #count(message) {
    if (message.seq <= this.read || this.#client.isOwn(message)) return;
    this.#unread += 1;
    if (this.#client.mentions(message.text, this.#client.user)) this.mentioned += 1;
  }

  /** What was read back has reached what came live. */
  #joinPieces() {
    if (!this.past || this.past.last + 1 < this.live.first) return;
    this.past.append(this.live.messages);
    this.live = new Piece(this.past.messages, this.past.hasOlder);
    this.past = null;
  }

  /** @param {import('./wire.js').Change} change */
  #apply(change) {
    for (const piece of [this.live, this.past]) {
      const message = piece?.find(change.seq);
      if (message) apply(message, change);
    }
  }
}

/** @param {Message} message @param {import('./wire.js').Change} change */
function apply(message, change) {
  message.version += 1;
  if (change.type === 'edited') Object.assign(message, { text: change.text, edited: change.time, data: change.data ?? message.data });
  if (change.type === 'deleted') Object.assign(message, { text: '', data: undefined, deleted: true, reactions: new Map() });
  if (change.type === 'reacted') react(message.reactions, change);
}

/** @param {Message['reactions']} reactions @param {import('./wire.js').Change} change */
function react(reactions, { user, verified, emoji, removed }) {
  const others = (reactions.get(emoji) ?? []).filter((one) => one.user !== user || one.verified !== verified);
  const users = removed ? others : [...others, { user, verified }];
  if (users.length > 0) reactions.set(emoji, users);
  else reactions.delete(emoji);
}
