// What was posted and is not acknowledged yet. It survives a lost connection and a reload of the page; its keys make sure that
// what is sent again is not said twice.

import { forThisTab, isText, listOf } from './memory.js';

const STORED_AS = 'switchboard.outbox';
const isPost = (value) => isText(value?.room) && isText(value.text) && isText(value.key) && (value.by === undefined || isText(value.by));

export class Outbox {
  #posts = forThisTab.readJson(STORED_AS, listOf(isPost));
  #underWay = new Map(); // of this connection: number of the command -> post
  #delays = new WeakMap(); // post -> code of the error for which it waits

  /** What waits to be sent to a room, or for its answer. */
  in(room) {
    return this.#posts.filter((post) => post.room === room);
  }

  /** `by`: the person who is signed in, and as whom alone the post may be sent; nobody for a guest. */
  add(room, text, by) {
    this.#posts.push({ room, text, key: newKey(), by });
    this.#store();
  }

  /** The server knows a room by another form of its name. */
  renamed(from, to) {
    for (const post of this.#posts) if (post.room === from) post.room = to;
    this.#store();
  }

  /** The posts of `user` that are not under way; a room's posts go out one after the other, so that they keep their order. */
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

  sent(id, post) {
    this.#underWay.set(id, post);
  }

  /** The answer came that ends a post; undefined when `id` is no post's. */
  answered(id) {
    const post = this.#underWay.get(id);
    this.#underWay.delete(id);
    if (post) {
      this.#posts = this.#posts.filter((other) => other !== post);
      this.#store();
    }
    return post;
  }

  /** The post is to be sent again, for the reason `code`; returns it, or undefined when `id` is no post's. */
  postponed(id, code) {
    const post = this.#underWay.get(id);
    this.#underWay.delete(id);
    if (post) this.#delays.set(post, code);
    return post;
  }

  /** Why the server did not take a post yet: the code of its error. */
  delayOf(post) {
    return this.#delays.get(post);
  }

  connectionLost() {
    this.#underWay.clear();
  }

  #store() {
    forThisTab.write(STORED_AS, JSON.stringify(this.#posts));
  }
}

function newKey() {
  // `randomUUID` exists on secure origins only.
  const octets = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('');
}
