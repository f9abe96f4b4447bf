// What is known of a room, or of a conversation of two. No document, no socket: events in, state out.

import { Piece } from './piece.js';

const TYPING_SHOWN_MS = 4_000;
/** Distance of messages that the server does not number from the numbered one before them. */
const UNNUMBERED_STEP = 1 / 65_536;

/** What a room is found by: names that the server takes for the same. */
export const keyOf = (name) => name.normalize('NFKC').toLowerCase();

export class Room {
  name;
  epoch = null; // null before the first `joined`
  seq = 0;
  rev = 0;
  live = new Piece(); // ends with the newest message
  past = null; // another piece, while somebody reads there
  members = new Map(); // client -> { client, user, verified }
  count = 0;
  read = 0; // the person has seen everything up to here
  isJoined = false; // on this connection
  isLive = false; // joined, and without a gap
  isLoaded = false; // a conversation whose newest messages are here
  isHeld = false; // somebody reads further up, so nothing that is older is let go of
  isVerified = false; // a conversation with somebody whose name is verified
  #unread = 0;
  #isOwn;
  #typing = new Map(); // user -> when it is over

  constructor(name, isOwn) {
    this.name = name;
    this.#isOwn = isOwn;
  }

  get key() {
    return keyOf(this.name);
  }

  /** A conversation of two is no room that one joins. */
  get isDirect() {
    return this.name.startsWith('@');
  }

  get since() {
    return this.epoch === null ? undefined : { epoch: this.epoch, seq: this.seq, rev: this.rev };
  }

  /** The piece that is read now. */
  get shown() {
    return this.past ?? this.live;
  }

  /** Messages that the person has not seen; of those that are not here, one's own count too. */
  get unread() {
    const before = this.isDirect ? Math.min(this.live.first, this.seq + 1) - this.read - 1 : 0;
    return this.#unread + Math.max(0, Math.floor(before));
  }

  /** Everything up to here has been seen. */
  seen(seq) {
    if (seq <= this.read) return;
    this.read = seq;
    this.#countUnread();
  }

  /** `joined`. Returns whether the room has another history now. */
  joined({ epoch, seq, rev, recovered, messages, changes, members, count, read }) {
    const isFirst = this.epoch === null;
    const isReset = !isFirst && !recovered;
    const isOther = isReset && this.epoch !== epoch;
    // Another run of the server has another epoch, whether or not its history is another one.
    const isLess = isOther && seq < this.seq;
    if (!recovered) {
      this.live = new Piece([], messages.length > 0 && messages[0].seq > 1);
      if (isOther) this.past = null;
    }
    Object.assign(this, { epoch, count, isJoined: true, isLive: true });
    if (isFirst) this.read = read || seq;
    else if (isOther) this.read = Math.min(this.read, seq);
    this.#append(messages);
    for (const change of changes) this.#apply(change);
    this.#joinPieces();
    Object.assign(this, { seq, rev });
    this.members = new Map(members.map((member) => [member.client, member]));
    this.#countUnread();
    return isLess;
  }

  /** `message`. False when something is missing before it: then the room is to be joined again. */
  message(message, prev) {
    if (!this.isLive || message.seq <= this.seq) return true;
    if (prev !== this.seq) {
      this.isLive = false;
      return false;
    }
    this.#append([message]);
    this.seq = message.seq;
    this.#typing.delete(message.user);
    return true;
  }

  /** `edited`, `deleted`, `reacted`. False when one before it is missing. */
  changed(change) {
    // What comes before the room is joined again will be in the answer.
    if (!this.isLive || change.rev <= this.rev) return true;
    if (change.rev !== this.rev + 1) {
      this.isLive = false;
      return false;
    }
    this.rev = change.rev;
    this.#apply(change);
    return true;
  }

  /** `direct`. False when something is missing before it. */
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

  /** Messages of a conversation that came after those that are here. */
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

  /** The history has begun again. */
  forget() {
    Object.assign(this, { epoch: null, live: new Piece(), past: null, seq: 0, read: 0, isLoaded: false });
    this.#countUnread();
  }

  /** `history` before the piece that is shown. */
  older(piece, { messages, more }) {
    piece.prepend(messages);
    piece.hasOlder = more && messages.length > 0;
  }

  /** `history` after the piece that is shown. */
  newer(piece, { messages, more }) {
    piece.append(messages);
    piece.hasNewer = more && messages.length > 0;
    this.#joinPieces();
  }

  /** Shows the history around a message. */
  goBack({ messages }, seq) {
    this.past = new Piece(messages, messages.length > 0 && messages[0].seq > 1, true);
    this.#joinPieces();
    return Boolean(this.shown.find(seq));
  }

  goLive() {
    this.past = null;
  }

  /** `presence`. */
  presence({ joined, left, count }) {
    for (const member of joined) this.members.set(member.client, member);
    for (const { client, user } of left) {
      this.members.delete(client);
      this.#typing.delete(user);
    }
    this.count = count;
  }

  /** Who is here, each once, in order: a verified name and an unverified one are two. */
  people() {
    const people = new Map();
    for (const { user, verified, lookalike } of this.members.values()) {
      people.set(`${verified} ${user}`, { user, verified, lookalike });
    }
    return [...people.values()].sort((a, b) => a.user.localeCompare(b.user));
  }

  typing(user, now) {
    this.#typing.set(user, now + TYPING_SHOWN_MS);
  }

  whoTypes(now) {
    for (const [user, until] of this.#typing) if (until <= now) this.#typing.delete(user);
    return [...this.#typing.keys()];
  }

  connectionLost() {
    this.isJoined = false;
    this.isLive = false;
    this.#typing.clear();
  }

  #append(messages) {
    for (const message of this.live.append(messages)) {
      if (message.seq > this.read && !this.#isOwn(message)) this.#unread += 1;
    }
    if (!this.isHeld) this.live.trim();
  }

  #countUnread() {
    this.#unread = 0;
    const { messages } = this.live;
    for (let i = messages.length - 1; i >= 0 && messages[i].seq > this.read; i -= 1) {
      if (!this.#isOwn(messages[i])) this.#unread += 1;
    }
  }

  /** What was read back has reached what came live. */
  #joinPieces() {
    if (!this.past || this.past.last + 1 < this.live.first) return;
    this.past.append(this.live.messages);
    this.live = new Piece(this.past.messages, this.past.hasOlder);
    this.past = null;
  }

  #apply(change) {
    for (const piece of [this.live, this.past]) {
      const message = piece?.find(change.seq);
      if (message) apply(message, change);
    }
  }
}

function apply(message, change) {
  message.version += 1;
  if (change.type === 'edited') Object.assign(message, { text: change.text, edited: change.time });
  if (change.type === 'deleted') Object.assign(message, { text: '', deleted: true, reactions: new Map() });
  if (change.type === 'reacted') react(message.reactions, change);
}

function react(reactions, { user, verified, emoji, removed }) {
  const others = (reactions.get(emoji) ?? []).filter((one) => one.user !== user || one.verified !== verified);
  const users = removed ? others : [...others, { user, verified }];
  if (users.length > 0) reactions.set(emoji, users);
  else reactions.delete(emoji);
}
