// The list of a room's messages, and what can be done with one of them.

import { button, byId, element, nameElement, timeElement } from './dom.js';

const NEAR_BOTTOM_PX = 60;
const NEAR_TOP_PX = 120;
export const EMOJIS = ['👍', '❤️', '😂', '🎉', '😮', '😢'];

export class MessageList {
  #log = byId('log');
  #list = byId('messages');
  #newer = byId('newer');
  #items = new Map(); // seq -> what is shown of it
  #room = null;
  #client;
  #act;
  #following = true;
  #isLoading = false;

  /** `act`: { edit(message), remove(message), react(message, emoji, remove), older(), seen() } */
  constructor(client, act) {
    this.#client = client;
    this.#act = act;
    this.#newer.addEventListener('click', () => this.scrollToBottom());
    byId('older').addEventListener('click', () => this.#older());
    this.#log.addEventListener('scroll', () => this.#scrolled());
    // A growing text field, or a phone's keyboard, must not cover the newest message.
    new ResizeObserver(() => {
      if (this.#following) this.scrollToBottom();
    }).observe(this.#log);
  }

  /** Shows another room, or the same one anew. */
  open(room) {
    this.#room = room;
    this.#items.clear();
    this.#list.replaceChildren();
    this.#following = true;
    this.update();
  }

  /** Shows what has changed since the last call. Messages that stay keep their elements, so that a screen reader hears only what is new. */
  update() {
    const room = this.#room;
    if (!room) return;
    const isFirst = this.#items.size === 0;
    this.#log.setAttribute('aria-busy', String(isFirst));
    const hadNewest = this.#items.has(room.messages.at(-1)?.seq);
    const height = this.#log.scrollHeight;
    const firstShown = this.#items.keys().next().value;
    this.#sync(room.messages);
    this.#log.setAttribute('aria-busy', 'false');
    byId('empty').hidden = room.messages.length > 0 || room.epoch === null;
    byId('older').hidden = !room.hasMore || room.messages.length === 0 || room.isDirect;
    if (this.#following) this.scrollToBottom();
    else if (!isFirst && !hadNewest) this.#newer.hidden = false;
    else if (room.messages[0]?.seq !== firstShown) this.#log.scrollTop += this.#log.scrollHeight - height;
  }

  scrollToBottom() {
    this.#following = true;
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#newer.hidden = true;
    this.#act.seen();
  }

  /** Whether the newest message is in view. */
  get isAtBottom() {
    return this.#following;
  }

  /** Brings a message into view, if it is there. */
  show(seq) {
    const item = this.#items.get(seq)?.item;
    if (!item) return false;
    this.#following = false;
    item.scrollIntoView({ block: 'center' });
    item.classList.add('found');
    setTimeout(() => item.classList.remove('found'), 2_000);
    item.focus({ preventScroll: true });
    return true;
  }

  #sync(messages) {
    const items = new Map();
    let next = this.#list.firstElementChild;
    for (const message of messages) {
      const shown = this.#items.get(message.seq);
      const state = this.#state(message);
      if (shown?.state === state) {
        while (next && next !== shown.item) next = removed(next);
        next = next?.nextElementSibling ?? null;
        items.set(message.seq, shown);
        continue;
      }
      const item = this.#item(message);
      if (shown && next === shown.item) next = next.nextElementSibling;
      if (shown) shown.item.replaceWith(item);
      else this.#list.insertBefore(item, next);
      items.set(message.seq, { item, state });
    }
    while (next) next = removed(next);
    this.#items = items;
  }

  /** All that an item shows, as a string: equal strings, equal items. */
  #state({ seq, user, text, edited, deleted, reactions }) {
    return JSON.stringify([seq, user, text, edited, deleted, reactions, user === this.#client.user]);
  }

  #item(message) {
    const isOwn = message.user === this.#client.user;
    const item = element('li', isOwn ? 'message own' : 'message');
    item.tabIndex = -1;
    item.dataset.seq = message.seq;
    const head = element('p', 'head');
    head.append(nameElement(message.user));
    if (message.verified) head.append(' ', verifiedMark());
    if (isOwn) head.append(element('span', 'you', ' (you)'));
    head.append(' ', timeElement(message.time));
    if (message.edited && !message.deleted) head.append(element('span', 'edited', ' edited'));
    const body = element('p', message.deleted ? 'body gone' : 'body', message.deleted ? 'Deleted' : message.text);
    body.dir = 'auto';
    item.append(head, body);
    if (!message.deleted && !this.#room.isDirect) item.append(this.#reactions(message), this.#tools(message, isOwn));
    return item;
  }

  #reactions(message) {
    const row = element('div', 'reactions');
    for (const [emoji, users] of Object.entries(message.reactions ?? {})) {
      const isMine = users.includes(this.#client.user);
      const chip = button('chip', `${emoji} ${users.length}`, `${emoji}, ${users.join(', ')}`, () => {
        this.#act.react(message, emoji, isMine);
      });
      chip.setAttribute('aria-pressed', String(isMine));
      row.append(chip);
    }
    return row;
  }

  /** Made when it is first opened: most messages are only read. */
  #tools(message, isOwn) {
    const tools = element('details', 'tools');
    const summary = element('summary', '', '⋯');
    summary.setAttribute('aria-label', `More about the message of ${message.user}`);
    tools.append(summary);
    tools.addEventListener('toggle', () => {
      if (!tools.open || tools.childElementCount > 1) return;
      const menu = element('div', 'menu');
      const done = (act) => () => {
        tools.open = false;
        act();
      };
      for (const emoji of EMOJIS) {
        menu.append(button('emoji', emoji, `React with ${emoji}`, done(() => this.#act.react(message, emoji, false))));
      }
      if (isOwn) {
        menu.append(
          button('edit', 'Edit', '', done(() => this.#act.edit(message))),
          button('delete', 'Delete', '', done(() => this.#act.remove(message))),
        );
      }
      tools.append(menu);
    });
    return tools;
  }

  #scrolled() {
    const wasFollowing = this.#following;
    this.#following = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_BOTTOM_PX;
    if (this.#following) this.#newer.hidden = true;
    if (this.#following && !wasFollowing) this.#act.seen();
    if (this.#log.scrollTop < NEAR_TOP_PX && !this.#following) this.#older();
  }

  async #older() {
    if (this.#isLoading || !this.#room?.hasMore || !this.#room.isLive) return;
    this.#isLoading = true;
    this.#following = false;
    try {
      await this.#act.older();
    } finally {
      this.#isLoading = false;
    }
  }
}

function removed(item) {
  const next = item.nextElementSibling;
  item.remove();
  return next;
}

export function verifiedMark() {
  const mark = element('span', 'verified', '✓');
  mark.title = 'Verified name';
  mark.setAttribute('role', 'img');
  mark.setAttribute('aria-label', 'verified');
  return mark;
}
