// What the server says, checked field by field: a value of a wrong type is left out and spoils nothing beside it.

import { Refused } from './errors.js';

const LATEST_TIME = 8.64e15;
const DURABLE = /** @type {const} */ (['disk', 'engine', 'engine-disk', 'engine-replicas']);

/**
 * @typedef {object} Message
 * @property {number} seq its number in the room
 * @property {string} user who wrote it
 * @property {boolean} verified the name is verified
 * @property {boolean} lookalike the name is not verified, and looks like one that is
 * @property {string} text
 * @property {any} data any JSON that it carries; undefined where it carries nothing
 * @property {number} replyTo the earlier message that it replies to; 0 for none
 * @property {number} time milliseconds since 1970
 * @property {number | undefined} edited when it was edited
 * @property {boolean} deleted its text is gone
 * @property {Map<string, { user: string, verified: boolean }[]>} reactions emoji -> those who reacted
 * @property {number} version grows with each change
 */
/** @typedef {{ client: string, user: string, verified: boolean, lookalike: boolean }} Member a connection in a room */
/** @typedef {{ messages: Message[], more: boolean }} Page a part of a history, the oldest first; whether there is more of it */
/** @typedef {{ name: string, members: number, seq: number, time: number }} ListedRoom */
/** @typedef {{ room: string, seq: number, read: number, unread: number }} Unread how much was not read in a room */
/** @typedef {Unread & { epoch: string, rev: number, time: number, message: Message | null }} OwnRoom a room that one has subscribed to, or a conversation */
/** @typedef {{ user: string, verified: boolean, epoch: string, seq: number, rev: number, time: number, read: number }} Conversation */
/**
 * @typedef {{ type: string, rev: number, seq: number, text: string, data: any, time: number, user: string, verified: boolean, emoji: string, removed: boolean }} Change
 */

/** @param {any} value */
const text = (value) => (typeof value === 'string' ? value : '');
/** @param {any} value */
const flag = (value) => value === true;
/** @param {any} value @returns {number} */
const count = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : 0);
/** @param {any} value @returns {number} */
const time = (value) => (Number.isFinite(value) && Math.abs(value) <= LATEST_TIME ? value : 0);
/** @template T @param {any} value @param {(element: any) => T | null} read @returns {T[]} */
const list = (value, read) => (Array.isArray(value) ? /** @type {T[]} */ (value.map(read).filter((element) => element !== null)) : []);
/** @param {any} value */
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * A JSON text as an object; null when it is none.
 * @param {string} json
 */
export function object(json) {
  try {
    const value = JSON.parse(json);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/**
 * A message of `joined`, `history`, `found` and `message`; null when it has no place in the order.
 * @param {any} value @returns {Message | null}
 */
export function message(value) {
  if (!isObject(value) || count(value.seq) === 0) return null;
  const { seq, user, verified, edited, deleted } = value;
  return {
    seq,
    user: text(user),
    verified: flag(verified),
    lookalike: flag(value.lookalike),
    text: text(value.text),
    data: value.data,
    replyTo: count(value.reply_to),
    time: time(value.time),
    edited: edited === undefined ? undefined : time(edited),
    deleted: flag(deleted),
    reactions: reactions(value),
    version: 0,
  };
}

/**
 * A map: names such as `constructor` mean nothing to it.
 * @param {any} value
 */
function reactions({ reactions: all, reactions_verified: verified }) {
  /** @type {Map<string, { user: string, verified: boolean }[]>} */
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

/**
 * [emoji, names] for each emoji with a name.
 * @param {any} value @returns {[string, string[]][]}
 */
function names(value) {
  if (!isObject(value)) return [];
  const read = Object.entries(value).map(([emoji, users]) => /** @type {[string, string[]]} */ ([emoji, list(users, (name) => text(name) || null)]));
  return read.filter(([, users]) => users.length > 0);
}

/**
 * `edited`, `deleted` or `reacted`, as an event or within `joined`.
 * @param {any} value @returns {Change | null}
 */
export function change(value) {
  if (!isObject(value)) return null;
  const { type, rev, seq, user, verified, emoji, removed } = value;
  const known = ['edited', 'deleted', 'reacted'].includes(type);
  if (!known) return null;
  return {
    type, rev: count(rev), seq: count(seq), text: text(value.text), data: value.data, time: time(value.time), user: text(user),
    verified: flag(verified), emoji: text(emoji), removed: flag(removed),
  };
}

/** @param {any} value @returns {Member | null} */
function member(value) {
  if (!isObject(value) || !text(value.client)) return null;
  return { client: value.client, user: text(value.user), verified: flag(value.verified), lookalike: flag(value.lookalike) };
}

/** @param {any} value */
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

/**
 * Messages in their order, each once.
 * @param {any} value
 */
function messages(value) {
  const read = list(value, message);
  const isSorted = read.every((one, i) => i === 0 || read[i - 1].seq < one.seq);
  if (isSorted) return read;
  return [...new Map(read.map((one) => [one.seq, one])).values()].sort((a, b) => a.seq - b.seq);
}

/** @param {any} value @returns {Page} */
export const history = (value) => ({ messages: messages(value.messages), more: flag(value.more) });
/** @param {any} value */
export const found = (value) => list(value.messages, message);
/** @param {any} value */
export const members = (value) => ({ members: list(value.members, member), count: count(value.count) });

/** @param {any} value */
export function presence(value) {
  return { joined: list(value.joined, member), left: list(value.left, member), count: count(value.count) };
}

/** @param {any} value */
export function reads(value) {
  return list(value.reads, (one) => (isObject(one) && text(one.user) ? { user: text(one.user), verified: flag(one.verified), seq: count(one.seq) } : null));
}

/** @param {any} value */
export function direct(value) {
  const { from, to, verified, lookalike, seq } = value;
  return {
    from: text(from), to: text(to), verified: flag(verified), lookalike: flag(lookalike), seq: count(seq), text: text(value.text),
    data: value.data, replyTo: count(value.reply_to), time: time(value.time),
  };
}

/** @param {any} value */
export function conversations(value) {
  const read = (/** @type {any} */ one) => {
    if (!isObject(one) || !text(one.user)) return null;
    const { user, verified, epoch, seq, rev, read: mark } = one;
    return { user: text(user), verified: flag(verified), epoch: text(epoch), seq: count(seq), rev: count(rev), time: time(one.time), read: count(mark) };
  };
  return { conversations: list(value.conversations, read), next: text(value.next) };
}

/**
 * `rooms`: those that one may join.
 * @param {any} value @returns {{ rooms: ListedRoom[], next: string }}
 */
export function roomList(value) {
  const read = (/** @type {any} */ one) => (isObject(one) && text(one.room)
    ? { name: text(one.room), members: count(one.members), seq: count(one.seq), time: time(one.time) } : null);
  return { rooms: list(value.rooms, read), next: text(value.next) };
}

/** @param {any} one @returns {Unread | null} */
const unreadOf = (one) => (isObject(one) && text(one.room)
  ? { room: text(one.room), seq: count(one.seq), read: count(one.read), unread: count(one.unread) } : null);

/**
 * `unread`: what changed.
 * @param {any} value
 */
export const unread = (value) => list(value.rooms, unreadOf);

/**
 * `mine`: the rooms that one has subscribed to, and conversations.
 * @param {any} value @returns {{ rooms: OwnRoom[], next: string }}
 */
export function mine(value) {
  const read = (/** @type {any} */ one) => {
    const known = unreadOf(one);
    return known && { ...known, epoch: text(one.epoch), rev: count(one.rev), time: time(one.time), message: message(one.message) };
  };
  return { rooms: list(value.rooms, read), next: text(value.next) };
}

/**
 * `ack`: where a post is, and whether it is on the disk.
 * @param {any} value
 */
export function ack(value) {
  return { seq: count(value.seq), time: time(value.time), durable: DURABLE.find((level) => level === value.durable) ?? 'memory', duplicate: flag(value.duplicate) };
}

/**
 * `epoch`: the history goes on under another name, from this message and change on.
 * @param {any} value
 */
export const epoch = (value) => ({ epoch: text(value.epoch), seq: count(value.seq), rev: count(value.rev) });

/** @param {any} value */
export function welcome(value) {
  /** @type {Map<string, number>} */
  const limits = new Map();
  for (const [name, limit] of Object.entries(isObject(value.limits) ? value.limits : {})) limits.set(name, count(limit));
  return {
    user: text(value.user), verified: flag(value.verified), heartbeat: count(value.heartbeat_ms), limits,
    features: new Set(list(value.features, (one) => text(one) || null)), permissions: permissions(value), expires: count(value.expires_ms),
  };
}

/** @param {any} value */
export function refreshed(value) {
  const rooms = Object.entries(isObject(value.rooms) ? value.rooms : {}).map(([name, list]) => /** @type {[string, string[] | null]} */ ([name, permissions({ permissions: list })]));
  return { user: text(value.user), permissions: permissions(value), rooms, expires: count(value.expires_ms) };
}

/**
 * What the server says that one may do; null when it does not say.
 * @param {any} value
 */
function permissions(value) {
  return Array.isArray(value.permissions) ? list(value.permissions, (one) => text(one) || null) : null;
}

/**
 * An `error`: what a promise fails with.
 * @param {any} value
 */
export function refused(value) {
  const retryAfter = value.retry_after_ms === undefined ? undefined : count(value.retry_after_ms);
  return new Refused(/** @type {any} */ (text(value.code) || 'unknown'), text(value.message) || 'The server refused it.', text(value.field), retryAfter);
}
