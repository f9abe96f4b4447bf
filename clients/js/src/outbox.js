// What was posted and is not acknowledged yet. It survives a lost connection, and with a store also the end of the process; its keys
// make sure that what is sent again is not said twice.

import { isText, readList } from './storage.js';

const STORED_AS = 'switchboard.outbox';
/** @param {any} value */
const isPost = (value) => isText(value?.room) && isText(value.text) && isText(value.key) && (value.by === undefined || isText(value.by));

/**
 * A message on its way: to a room, or with `@` before it to a person. `by`: the person who is signed in, and as whom alone it may be
 * sent; nobody for a guest.
 * @typedef {{ room: string, text: string, key: string, by?: string } & Carried} Post
 */
/**
 * What a message carries besides its text: any JSON, and the number of the message that it replies to.
 * @typedef {{ data?: any, replyTo?: number }} Carried
 */

export class Outbox {
  #store;
  /** @type {Post[]} */
  #posts;
  /** Of this connection: number of the command -> post @type {Map<number, Post>} */
  #underWay = new Map();
  /** Post -> code of the error for which it waits @type {WeakMap<Post, string>} */
  #delays = new WeakMap();

  /** @param {import('./storage.js').Store} store of this client alone */
  constructor(store) {
    this.#store = store;
    this.#posts = readList(store, STORED_AS, isPost);
  }

  /** How many wait. */
  get size() {
    return this.#posts.length;
  }

  /**
   * What waits to be sent to a room, or for its answer.
   * @param {string} room
   */
  in(room) {
    return this.#posts.filter((post) => post.room === room);
  }

  /** @param {string} room @param {string} text @param {string} [by] @param {Carried} [carried] */
  add(room, text, by, { data, replyTo } = {}) {
    const post = { room, text, key: newKey(), by, data, replyTo };
    this.#posts.push(post);
    this.#write();
    return post;
  }

  /**
   * The server knows a room by another form of its name.
   * @param {string} from @param {string} to
   */
  renamed(from, to) {
    for (const post of this.#posts) if (post.room === from) post.room = to;
    this.#write();
  }

  /**
   * The posts of `user` that are not under way; a room's posts go out one after the other, so that they keep their order.
   * @param {(room: string) => boolean} isReady @param {string} user
   */
  due(isReady, user) {
    const busy = new Set([...this.#underWay.values()].map((post) => post.room));
    const due = [];
    for (const post of this.#posts) {
      if (busy.has(post.room) || !isReady(post.room) || (post.by ?? user) !== user) continue;
      busy.add(post.room);
      due.push(post);
    }
    return due;
  }

  /** @param {number} id @param {Post} post */
  sent(id, post) {
    this.#underWay.set(id, post);
  }

  /**
   * The answer came that ends a post; undefined when `id` is no post's.
   * @param {number} id
   */
  answered(id) {
    const post = this.#underWay.get(id);
    this.#underWay.delete(id);
    if (post) {
      this.#posts = this.#posts.filter((other) => other !== post);
      this.#write();
    }
    return post;
  }

  /**
   * The post is to be sent again, for the reason `code`; returns it, or undefined when `id` is no post's.
   * @param {number} id @param {string} code
   */
  postponed(id, code) {
    const post = this.#underWay.get(id);
    this.#underWay.delete(id);
    if (post) this.#delays.set(post, code);
    return post;
  }

  /**
   * Why the server did not take a post yet: the code of its error.
   * @param {Post} post
   */
  delayOf(post) {
    return this.#delays.get(post);
  }

  connectionLost() {
    this.#underWay.clear();
  }

  #write() {
    this.#store.write(STORED_AS, JSON.stringify(this.#posts));
  }
}

function newKey() {
  // `randomUUID` exists on secure origins only.
  const octets = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('');
}
