// What the server says, checked field by field: a value of a wrong type is left out and spoils nothing beside it.

const LATEST_TIME = 8.64e15;

const text = (value) => (typeof value === 'string' ? value : '');
const flag = (value) => value === true;
export const count = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : 0);
const time = (value) => (Number.isFinite(value) && Math.abs(value) <= LATEST_TIME ? value : 0);
const list = (value, read) => (Array.isArray(value) ? value.map(read).filter((element) => element !== null) : []);
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A JSON text as an object; null when it is none. */
export function object(json) {
  try {
    const value = JSON.parse(json);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** A message of `joined`, `history`, `found` and `message`; null when it has no place in the order. */
export function message(value) {
  if (!isObject(value) || count(value.seq) === 0) return null;
  const { seq, user, verified, edited, deleted } = value;
  return {
    seq,
    user: text(user),
    verified: flag(verified),
    lookalike: flag(value.lookalike),
    text: text(value.text),
    time: time(value.time),
    edited: edited === undefined ? undefined : time(edited),
    deleted: flag(deleted),
    reactions: reactions(value),
    version: 0,
  };
}

/** Emoji -> those who reacted, each { user, verified }. A map: names such as `constructor` mean nothing to it. */
function reactions({ reactions: all, reactions_verified: verified }) {
  const read = new Map();
  for (const [emoji, users] of names(all)) read.set(emoji, users.map((user) => ({ user, verified: false })));
  for (const [emoji, users] of names(verified)) {
    for (const user of users) {
      const one = read.get(emoji)?.find((other) => other.user === user && !other.verified);
      if (one) one.verified = true;
    }
  }
  return read;
}

/** [emoji, names] for each emoji with a name. */
function names(value) {
  if (!isObject(value)) return [];
  const read = Object.entries(value).map(([emoji, users]) => [emoji, list(users, (name) => text(name) || null)]);
  return read.filter(([, users]) => users.length > 0);
}

/** `edited`, `deleted` or `reacted`, as an event or within `joined`. */
export function change(value) {
  if (!isObject(value)) return null;
  const { type, rev, seq, user, verified, emoji, removed } = value;
  const known = ['edited', 'deleted', 'reacted'].includes(type);
  if (!known) return null;
  return {
    type, rev: count(rev), seq: count(seq), text: text(value.text), time: time(value.time), user: text(user),
    verified: flag(verified), emoji: text(emoji), removed: flag(removed),
  };
}

export function member(value) {
  if (!isObject(value) || !text(value.client)) return null;
  return { client: value.client, user: text(value.user), verified: flag(value.verified), lookalike: flag(value.lookalike) };
}

export function joined(value) {
  return {
    room: text(value.room),
    epoch: text(value.epoch),
    seq: count(value.seq),
    rev: count(value.rev),
    recovered: flag(value.recovered),
    messages: messages(value.messages),
    changes: list(value.changes, change),
    members: list(value.members, member),
    count: count(value.count),
    read: count(value.read),
    permissions: permissions(value),
  };
}

/** Messages in their order, each once. */
export function messages(value) {
  const read = list(value, message);
  const isSorted = read.every((one, i) => i === 0 || read[i - 1].seq < one.seq);
  if (isSorted) return read;
  return [...new Map(read.map((one) => [one.seq, one])).values()].sort((a, b) => a.seq - b.seq);
}

export const history = (value) => ({ messages: messages(value.messages), more: flag(value.more) });
export const found = (value) => list(value.messages, message);
export const members = (value) => ({ members: list(value.members, member), count: count(value.count) });

export function presence(value) {
  return { joined: list(value.joined, member), left: list(value.left, member), count: count(value.count) };
}

export function reads(value) {
  return list(value.reads, (one) => (isObject(one) && text(one.user) ? { user: one.user, verified: flag(one.verified), seq: count(one.seq) } : null));
}

export function direct(value) {
  const { from, to, verified, lookalike, seq } = value;
  return {
    from: text(from), to: text(to), verified: flag(verified), lookalike: flag(lookalike), seq: count(seq), text: text(value.text),
    time: time(value.time),
  };
}

export function conversations(value) {
  const read = (one) => {
    if (!isObject(one) || !text(one.user)) return null;
    const { user, verified, epoch, seq, read: mark } = one;
    return { user, verified: flag(verified), epoch: text(epoch), seq: count(seq), time: time(one.time), read: count(mark) };
  };
  return { conversations: list(value.conversations, read), next: text(value.next) };
}

/** `rooms`: those that one may join. */
export function roomList(value) {
  const read = (one) => (isObject(one) && text(one.room) ? { name: one.room, members: count(one.members), seq: count(one.seq), time: time(one.time) } : null);
  return { rooms: list(value.rooms, read), next: text(value.next) };
}

export function welcome(value) {
  const limits = new Map();
  for (const [name, limit] of Object.entries(isObject(value.limits) ? value.limits : {})) limits.set(name, count(limit));
  return {
    user: text(value.user), verified: flag(value.verified), heartbeat: count(value.heartbeat_ms), limits,
    features: new Set(list(value.features, (one) => text(one) || null)), permissions: permissions(value),
  };
}

/** What the server says that one may do; null when it does not say. */
function permissions(value) {
  return Array.isArray(value.permissions) ? list(value.permissions, (one) => text(one) || null) : null;
}

/** An `error`: what a promise fails with. */
export class Refused extends Error {
  constructor(value) {
    super(text(value.message) || 'The server refused it.');
    this.code = text(value.code) || 'unknown';
    this.field = text(value.field);
    this.retryAfter = value.retry_after_ms === undefined ? undefined : count(value.retry_after_ms);
  }
}
