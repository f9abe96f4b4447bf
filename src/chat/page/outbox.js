// What was posted and is not yet seen in the room's list. It survives a lost connection and a reload of the page.
//
// The `json` subprotocol has no acknowledgement, so one post is on its way at a time: it has arrived when the list holds
// it once more than before, and it was refused when an error comes instead. A post whose connection was lost before
// either happened is looked for in the next connection's list, and only then posted again.

import { forThisTab } from './memory.js';

const STORED_AS = 'switchboard.outbox';
const ANSWER_LIMIT_MS = 10_000;

export class Outbox {
  #posts = JSON.parse(forThisTab.read(STORED_AS) ?? '[]');
  #list = null; // of this connection; null until its first list
  #timer = 0; // runs while a post of this connection is on its way
  #send;
  #onSilence;

  constructor({ send, onSilence }) {
    this.#send = send;
    this.#onSilence = onSilence;
  }

  get posts() {
    return this.#posts.map(({ user, text }) => ({ user, text }));
  }

  add(user, text) {
    this.#posts.push({ user, text });
    this.#advance();
  }

  connectionLost() {
    this.#list = null;
    this.#answered();
  }

  listArrived(list) {
    this.#list = list;
    const first = this.#posts[0];
    if (first?.after !== undefined && this.#arrived(first)) this.#shift();
    this.#advance();
  }

  // Takes the post that the server refused out of the box; undefined when none was on its way.
  refused() {
    if (!this.#timer) return undefined;
    const post = this.#shift();
    this.#advance();
    return post;
  }

  #advance() {
    const first = this.#posts[0];
    if (first && this.#list && !this.#timer) {
      first.after = this.#list[0]?.time ?? 0;
      first.seen = copies(this.#list, first);
      if (this.#send({ user: first.user, text: first.text })) {
        this.#timer = setTimeout(this.#onSilence, ANSWER_LIMIT_MS);
      }
    }
    forThisTab.write(STORED_AS, JSON.stringify(this.#posts));
  }

  #arrived(post) {
    if (copies(this.#list, post) > post.seen) return true;
    // A busy room may push the post out of the list before this page sees it: then all that is left is newer.
    return this.#timer !== 0 && post.after > 0 && this.#list.at(-1)?.time > post.after;
  }

  #shift() {
    this.#answered();
    return this.#posts.shift();
  }

  #answered() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }
}

// Only what is as new as the newest message of the moment of posting counts, by the server's own clock.
function copies(list, { user, text, after }) {
  return list.filter((m) => m.time >= after && m.user === user && m.text === text).length;
}
