// What is known of a room. No document, no socket: events in, state out.

const TYPING_SHOWN_MS = 4_000;

export class Room {
  name;
  epoch = null; // null before the first `joined`
  seq = 0;
  rev = 0;
  messages = []; // oldest first
  hasMore = true; // there may be older messages
  members = new Map(); // client -> { client, user, verified }
  count = 0;
  read = 0; // the person has seen everything up to here
  isJoined = false; // on this connection
  isLive = false; // joined, and without a gap
  #typing = new Map(); // user -> when it is over

  constructor(name) {
    this.name = name;
  }

  /** A conversation of two is no room that one joins. */
  get isDirect() {
    return this.name.startsWith('@');
  }

  get since() {
    return this.epoch === null ? undefined : { epoch: this.epoch, seq: this.seq, rev: this.rev };
  }

  /** Messages of others that `user` has not seen. */
  unread(user) {
    let count = 0;
    for (let i = this.messages.length - 1; i >= 0 && this.messages[i].seq > this.read; i -= 1) {
      count += this.messages[i].user === user ? 0 : 1;
    }
    return count;
  }

  /** `joined`. Gives whether what was shown before is no part of the history any more. */
  joined({ epoch, seq, rev, recovered, messages, changes, members, count, read }) {
    const isFirst = this.epoch === null;
    const isReset = !isFirst && !recovered;
    if (!recovered) this.messages = [];
    this.#append(messages);
    for (const change of changes ?? []) this.changed(change);
    if (!recovered) this.hasMore = messages.length > 0 && messages[0].seq > 1;
    Object.assign(this, { epoch, seq, rev, count, isJoined: true, isLive: true });
    this.members = new Map(members.map((member) => [member.client, member]));
    if (isFirst) this.read = read ?? seq;
    else if (isReset) this.read = Math.min(this.read, seq);
    return isReset;
  }

  /** `message`. False when something is missing before it: then the room is to be joined again. */
  message(message) {
    if (!this.isLive || message.seq <= this.seq) return true;
    if (message.prev !== this.seq) {
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
    if (change.rev <= this.rev) return true;
    if (this.isLive && change.rev !== this.rev + 1) {
      this.isLive = false;
      return false;
    }
    this.rev = change.rev;
    const message = this.messages.find(({ seq }) => seq === change.seq);
    if (!message) return true;
    if (change.type === 'edited') Object.assign(message, { text: change.text, edited: change.time });
    if (change.type === 'deleted') Object.assign(message, { text: '', deleted: true, reactions: {} });
    if (change.type === 'reacted') react(message, change);
    return true;
  }

  /** `history`. */
  older({ messages, more }) {
    const first = this.messages[0]?.seq ?? Infinity;
    this.messages.unshift(...messages.filter(({ seq }) => seq < first));
    this.hasMore = more;
  }

  /** `presence`. */
  presence({ joined, left, count }) {
    for (const member of joined ?? []) this.members.set(member.client, member);
    for (const { client, user } of left ?? []) {
      this.members.delete(client);
      this.#typing.delete(user);
    }
    this.count = count;
  }

  /** Who is here, each once, in order. */
  people() {
    const people = new Map();
    for (const { user, verified } of this.members.values()) people.set(user, people.get(user) || verified);
    return [...people].map(([user, verified]) => ({ user, verified })).sort((a, b) => a.user.localeCompare(b.user));
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
    const last = this.messages.at(-1)?.seq ?? 0;
    this.messages.push(...messages.filter(({ seq }) => seq > last));
  }
}

function react(message, { user, emoji, removed }) {
  const reactions = { ...message.reactions };
  const users = new Set(reactions[emoji] ?? []);
  if (removed) users.delete(user);
  else users.add(user);
  if (users.size > 0) reactions[emoji] = [...users];
  else delete reactions[emoji];
  message.reactions = reactions;
}
