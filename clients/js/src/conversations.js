// Conversations of two, as far as they are kept by the server: those that there are, what came while away, what was read.

import { Refused } from './errors.js';
import { keyOf } from './room.js';
import { isText, readList } from './storage.js';
import * as wire from './wire.js';

/** @typedef {import('./room.js').Room} Room */

const CLOSED_STORED_AS = 'switchboard.closed';
/** Conversations that are listed; the newest come first. */
const MOST_LISTED = 200;
const MOST_CLOSED = 500;
/** @param {any} value */
const isClosed = (value) => Array.isArray(value) && isText(value[0]) && Number.isFinite(value[1]);

export class Conversations {
  #client;
  #store;
  /** Taken off the list, until something comes after that message @type {Map<string, number>} */
  #closed;

  /** @param {import('./client.js').Client} client @param {import('./storage.js').Store} store */
  constructor(client, store) {
    this.#client = client;
    this.#store = store;
    this.#closed = new Map(readList(store, CLOSED_STORED_AS, isClosed));
  }

  /** Asks for the conversations that there are, and for what is missing of those that are here. */
  async load() {
    let page;
    const listed = new Set();
    // As of now: what comes meanwhile is not in the list.
    const kept = [...this.#client.rooms.values()].filter((room) => room.isDirect && room.live.last >= 1);
    try {
      do {
        const answer = wire.conversations(await this.#client.ask({ type: 'conversations', page }));
        for (const conversation of answer.conversations) listed.add(this.#listed(conversation));
        page = answer.conversations.length > 0 && answer.next ? answer.next : undefined;
      } while (page && listed.size < MOST_LISTED);
      // A server that keeps them in memory has forgotten them.
      if (!page) for (const room of kept) if (!listed.has(room)) this.#forgotten(room);
    } catch {
      // A server that does not list them, or a connection that is lost: the next one asks again.
    }
    this.#client.roomsChanged();
  }

  /**
   * Somebody opens a conversation: its newest messages are read.
   * @param {Room} room
   */
  async open(room) {
    if (room.isLoaded || !this.#client.isOpen || !this.#client.verified) return;
    try {
      await this.#read(room, 0);
    } catch (error) {
      // Nothing is kept of a conversation with a guest.
      if (!(error instanceof Refused) || error.code !== 'not_found') throw error;
      room.isLoaded = true;
    }
  }

  /**
   * What is here of a conversation is not all: it is read again.
   * @param {Room} room
   */
  reload(room) {
    room.reload();
    this.open(room).catch(() => {});
  }

  /** @param {Room} room */
  closed(room) {
    this.#closed.set(this.#keyOfClosed(room.name), Math.floor(room.seq));
    for (const oldest of this.#closed.keys()) {
      if (this.#closed.size <= MOST_CLOSED) break;
      this.#closed.delete(oldest);
    }
    this.#store.write(CLOSED_STORED_AS, JSON.stringify([...this.#closed]));
  }

  /**
   * `direct`
   * @param {ReturnType<typeof wire.direct>} direct
   */
  direct(direct) {
    const isFromSelf = this.#client.isOwn({ user: direct.from, verified: direct.verified });
    const room = this.#enter(isFromSelf ? direct.to : direct.from);
    if (!isFromSelf) room.isVerified = direct.verified;
    const message = { ...direct, user: direct.from, edited: undefined, deleted: false, reactions: new Map(), version: 0 };
    if (room.direct(message)) this.#client.changed(room, 'message');
    else this.#catchUp(room);
    this.#client.arrived(room, message);
  }

  /**
   * One of the list; returns its room, if it is shown.
   * @param {wire.Conversation} conversation
   */
  #listed({ user, verified, epoch, seq, rev, read }) {
    const name = `@${user}`;
    if ((this.#closed.get(this.#keyOfClosed(name)) ?? -1) >= seq && !this.#client.find(name)) return undefined;
    const room = this.#enter(user);
    room.name = name;
    room.isVerified = verified;
    if (room.epoch !== null && room.epoch !== epoch) this.#forgotten(room);
    room.epoch = epoch;
    room.seq = Math.max(room.seq, seq);
    const isChanged = rev > room.rev && room.live.messages.length > 0;
    room.rev = Math.max(room.rev, rev);
    if (isChanged) this.reload(room);
    room.seen(read);
    if (room.live.messages.length > 0 && seq > Math.floor(room.live.last)) this.#catchUp(room);
    return room;
  }

  /**
   * What is known of a conversation is no part of its history any more.
   * @param {Room} room
   */
  #forgotten(room) {
    const isOpen = room.isLoaded;
    room.forget();
    this.#client.changed(room, 'reset');
    if (isOpen) this.open(room).catch(() => {});
  }

  /**
   * Each person who uses this store has a list of their own.
   * @param {string} name
   */
  #keyOfClosed(name) {
    return `${this.#client.user} ${keyOf(name)}`;
  }

  /** @param {string} user */
  #enter(user) {
    const name = `@${user}`;
    return this.#client.find(name) ?? this.#client.enter(name);
  }

  /** @param {Room} room */
  #catchUp(room) {
    const last = Math.floor(room.live.last);
    this.#read(room, last).catch(() => {});
  }

  /**
   * Reads what follows a message, or the newest messages.
   * @param {Room} room @param {number} after
   */
  async #read(room, after) {
    const page = after > 0 ? await this.#client.historyAfter(room, after) : await this.#client.history(room);
    room.caughtUp(page, after === 0);
    this.#client.changed(room, 'history');
    if (after > 0 && page.more && page.messages.length > 0) this.#catchUp(room);
  }
}
