// The messages of the open room. Of a long history only a stretch is in the document; it moves with the reader.
//
// The line that is read stays where it is, whatever is added, taken away or changed around it: before each change the first message
// in view is noted, and afterwards the log is scrolled by as much as that message has moved. (The browser's own scroll anchoring
// is turned off in the style, so that nothing is corrected twice.)

import { byId, element } from './dom.js';
import { messageItem } from './item.js';
import { closeMenu, toolsOf } from './menu.js';
import { addressOf } from './route.js';
import { isSameDay, timeElement } from './time.js';
import { t } from './words.js';

/** Messages in the document: at most so many, and so many more or fewer at a time. */
const MOST_SHOWN = 200;
const STEP = 50;
const NEAR_BOTTOM_PX = 60;
/** More is fetched when the end of what is there is as near as this many heights of the log. */
const NEAR_HEIGHTS = 1.5;
const FETCH_DELAY_MS = 80;
const MARKED_MS = 2_000;
/** Messages of one person within so much time stand under one name. */
const TOGETHER_MS = 5 * 60_000;
const REACHABLE = 'a, button, summary, pre';

export class Log {
  #log = byId('log');
  #list = byId('messages');
  #newer = byId('newer');
  #items = new Map(); // seq -> { item, version }
  #range = { first: Infinity, last: 0 }; // the numbers of the messages in the document
  #known = 0; // the newest message of the piece at the last look
  #room = null;
  #client;
  #act;
  #following = true;
  #placed = 0; // where the log was scrolled to last, not by the reader
  #isFetching = false;
  #fetchTimer = 0;
  #line = 0; // the first message that is new since the person was away

  /**
   * `act`: { edit(message), remove(message), undo(message), reply(message), copyLink(message), kick(user), ban(user),
   * react(message, emoji, remove), older(room), newer(room), seen(), jump(room) }
   */
  constructor(client, act) {
    this.#client = client;
    this.#act = { ...act, tools: (message, isOwn) => toolsOf(message, isOwn, act, this.#may()) };
    byId('jump').addEventListener('click', () => this.#act.jump(this.#room));
    byId('jump-close').addEventListener('click', () => this.#act.markRead(this.#room));
    this.#newer.addEventListener('click', () => this.goToNewest());
    byId('older').addEventListener('click', () => this.#extend('older'));
    this.#log.addEventListener('scroll', () => this.#scrolled());
    this.#log.addEventListener('keydown', (event) => this.#key(event));
    this.#list.addEventListener('focusin', ({ target }) => this.#focused(target.closest('.message')));
    this.#list.addEventListener('focusout', ({ relatedTarget }) => this.#list.contains(relatedTarget) || this.#focused(null));
    // A growing text field, or a phone's keyboard, must not cover the newest message.
    new ResizeObserver(() => this.#following && this.#toBottom()).observe(this.#log);
  }

  /** Shows another room. */
  open(room) {
    closeMenu();
    if (this.#room) this.#room.isHeld = false;
    this.#room = room;
    this.#following = !room.past;
    this.#clear();
    this.update();
  }

  /** Makes every message again: who one is has changed. */
  redraw() {
    if (!this.#room) return;
    const { seq, top } = this.#anchor();
    const bounds = this.#bounds();
    const known = this.#known;
    this.#clear();
    this.#show(...bounds);
    this.#known = known;
    this.#settle(seq, top);
  }

  /** Shows what has changed since the last call. Messages that stay keep their elements, so that a screen reader hears only what is new. */
  update() {
    const room = this.#room;
    if (!room) return;
    const piece = room.shown;
    // What the reader did since the last frame may not have been told yet.
    this.#following &&= !this.#hasMovedUp();
    const { seq, top } = this.#anchor();
    const isFirst = this.#items.size === 0;
    this.#log.setAttribute('aria-busy', String(isFirst));
    const hasNews = !isFirst && piece.last > this.#known;
    this.#show(...this.#stretch(piece));
    this.#known = piece.last;
    this.#log.setAttribute('aria-busy', 'false');
    byId('empty').hidden = piece.messages.length > 0 || (room.epoch === null && !room.isDirect);
    this.#settle(seq, top);
    if (!this.#following && (hasNews || room.past)) this.#newer.hidden = false;
  }

  /** Which messages of a piece are to be in the document: [start, end). */
  #stretch(piece) {
    const { length } = piece.messages;
    const [start, end] = this.#bounds();
    const newest = Math.max(0, length - MOST_SHOWN / 2);
    if (start >= end) return [newest, length];
    if (this.#following) return [length - start > MOST_SHOWN ? length - MOST_SHOWN + STEP : Math.min(start, newest), length];
    // What comes is added below for as long as there is place.
    if (this.#range.last >= this.#known) return [start, Math.max(end, Math.min(length, start + MOST_SHOWN))];
    return [start, end];
  }

  /** To the end of the history, as it is now. */
  goToNewest() {
    if (this.#room.past) {
      this.#room.goLive();
      this.#clear();
    }
    this.#following = true;
    this.#placed = 0;
    this.update();
    this.#newer.hidden = true;
    this.#act.seen();
  }

  /** Whether the newest message is in view. */
  get isAtBottom() {
    return this.#following && !this.#room?.past;
  }

  /** Brings a message into view, if it is there. */
  show(seq) {
    const piece = this.#room.shown;
    if (!piece.find(seq)) return false;
    this.#following = false;
    this.#room.isHeld = true;
    if (!this.#items.has(seq)) {
      const at = piece.indexOf(seq);
      this.#show(Math.max(0, at - STEP), Math.min(piece.messages.length, at + STEP));
    }
    this.#known = piece.last;
    this.#buttons();
    const { item } = this.#items.get(seq);
    item.scrollIntoView({ block: 'center' });
    this.#placed = this.#log.scrollTop;
    item.classList.add('found');
    setTimeout(() => item.classList.remove('found'), MARKED_MS);
    item.focus({ preventScroll: true });
    this.#newer.hidden = this.#isWhole && this.#isNearBottom();
    this.#showJump();
    return true;
  }

  // ---- what is in the document

  get #isWhole() {
    const { shown } = this.#room;
    return !shown.hasNewer && this.#range.last >= this.#known;
  }

  /** Where in the piece the messages in the document are: [start, end). */
  #bounds() {
    const { shown } = this.#room;
    return [shown.indexOf(this.#range.first), shown.indexAfter(this.#range.last)];
  }

  #clear() {
    this.#items.clear();
    this.#list.replaceChildren();
    this.#range = { first: Infinity, last: 0 };
    this.#known = 0;
  }

  /** Makes the document show these messages of the piece, from `start` to before `end`. */
  #show(start, end) {
    const { messages } = this.#room.shown;
    const stays = new Map();
    let next = this.#list.firstElementChild;
    for (let i = start; i < end; i += 1) {
      const message = messages[i];
      const before = this.#items.get(message.seq);
      const isSame = before?.message === message && before.version === message.version;
      const shown = isSame ? before : { message, version: message.version, item: this.#item(message) };
      while (next && Number(next.dataset.seq) < message.seq) next = removed(next);
      if (next === shown.item) next = next.nextElementSibling;
      else if (next && next === before?.item) {
        next = next.nextElementSibling;
        replace(before.item, shown.item);
      } else this.#list.insertBefore(shown.item, next);
      stays.set(message.seq, shown);
    }
    while (next) next = removed(next);
    this.#items = stays;
    this.#decorate(start, end);
    this.#range = end > start ? { first: messages[start].seq, last: messages[end - 1].seq } : { first: Infinity, last: 0 };
  }

  #item(message) {
    const room = this.#room;
    const { user } = this.#client;
    const people = { get names() { return [...room.names(), user]; }, own: user };
    const address = room.isDirect && message.seq % 1 !== 0 ? '' : addressOf(room.name, message.seq);
    return messageItem(message, { client: this.#client, act: this.#act, can: !room.isDirect, people, address });
  }

  #may() {
    const room = this.#room;
    return { change: !room.isDirect, moderate: this.#client.may('moderate', room), ban: !room.isDirect && this.#client.may('ban', room) };
  }

  // ---- what stands between messages

  /** Groups what one person said, and puts the days and the line of what is new in between. The elements themselves stay. */
  #decorate(start, end) {
    const { messages } = this.#room.shown;
    this.#line = this.#room.lineSeq();
    for (let i = start; i < end; i += 1) {
      const [before, message] = [messages[i - 1], messages[i]];
      const { item } = this.#items.get(message.seq);
      const isDay = !before || !isSameDay(before.time, message.time);
      const isLine = message.seq === this.#line;
      const follows = i > start && !isDay && !isLine && before.user === message.user && before.verified === message.verified
        && message.time - before.time < TOGETHER_MS;
      item.classList.toggle('follows', follows);
      between(item, 'day', isDay, () => [timeElement(message.time, 'day')]);
      between(item, 'new-line', isLine, () => [t('new_line')]);
    }
  }

  /** The way to what is new, while it is above what is in view. */
  #showJump() {
    const { away } = this.#room;
    const line = this.#items.get(this.#line)?.item.querySelector(':scope > .new-line');
    const isAbove = away !== null && (line ? line.getBoundingClientRect().bottom < this.#log.getBoundingClientRect().top : this.#range.first > away);
    byId('jump-bar').hidden = !isAbove;
    if (isAbove) byId('jump').textContent = t('jump_new', { n: this.#room.sinceAway });
  }

  // ---- where it is scrolled to

  /** The first message in view, and where it is. */
  #anchor() {
    const edge = this.#log.getBoundingClientRect().top;
    const items = this.#list.children;
    let [low, high] = [0, items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (items[middle].getBoundingClientRect().bottom > edge) high = middle;
      else low = middle + 1;
    }
    const item = items[low];
    return item ? { seq: Number(item.dataset.seq), top: topOf(item) } : {};
  }

  /** Scrolls so that the reader does not notice: the message is where it was, or the newest is in view. */
  #settle(seq, top) {
    this.#buttons();
    this.#room.isHeld = !this.#following;
    this.#place(seq, top);
    this.#showJump();
  }

  #place(seq, top) {
    const item = this.#items.get(seq)?.item;
    if (this.#following) this.#toBottom();
    else if (item) {
      const moved = topOf(item) - top;
      if (Math.abs(moved) >= 1) this.#log.scrollTop += moved;
      this.#placed = this.#log.scrollTop;
    }
  }

  #buttons() {
    const { shown } = this.#room;
    const hasMore = shown.hasOlder || this.#range.first > shown.first;
    byId('older').hidden = !hasMore || shown.messages.length === 0;
  }

  #toBottom() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#placed = this.#log.scrollTop;
    this.#newer.hidden = true;
  }

  #hasMovedUp() {
    return this.#log.scrollTop < this.#placed - 1 && !this.#isNearBottom();
  }

  #isNearBottom() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_BOTTOM_PX;
  }

  #scrolled() {
    closeMenu();
    const wasFollowing = this.#following;
    // It is the reader who moves up; that the log got longer or lower is none of their doing.
    this.#following = this.#following ? !this.#hasMovedUp() : this.#isWhole && this.#isNearBottom();
    if (this.#following) {
      this.#newer.hidden = true;
      if (!wasFollowing) this.#act.seen();
    }
    this.#showJump();
    // A little later: whoever presses the button at the top does not get twice as much.
    this.#fetchTimer ||= setTimeout(() => {
      this.#fetchTimer = 0;
      this.#fetchNear();
    }, FETCH_DELAY_MS);
  }

  #fetchNear() {
    const near = this.#log.clientHeight * NEAR_HEIGHTS;
    if (this.#log.scrollTop < near && !this.#following) this.#extend('older');
    else if (this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < near && !this.#isWhole) this.#extend('newer');
  }

  /** Shows more at one end, out of memory or from the server, and less at the other. */
  async #extend(what) {
    const room = this.#room;
    if (!room || this.#isFetching) return;
    const { shown } = room;
    this.#following = false;
    if (this.#grow(what)) return;
    if (!(what === 'older' ? shown.hasOlder : shown.hasNewer) || !this.#client.isOpen) return;
    this.#isFetching = true;
    try {
      await this.#act[what](room);
    } finally {
      this.#isFetching = false;
    }
    if (room === this.#room) this.#grow(what);
  }

  #grow(what) {
    const { length } = this.#room.shown.messages;
    const [start, end] = this.#bounds();
    const isOlder = what === 'older';
    if (isOlder ? start === 0 : end === length) return false;
    const from = isOlder ? Math.max(0, start - STEP) : Math.max(start, Math.min(length, end + STEP) - MOST_SHOWN);
    const to = isOlder ? Math.min(end, from + MOST_SHOWN) : Math.min(length, end + STEP);
    const { seq, top } = this.#anchor();
    this.#log.setAttribute('aria-busy', 'true');
    this.#show(from, to);
    this.#settle(seq, top);
    this.#log.setAttribute('aria-busy', 'false');
    return true;
  }

  // ---- the keyboard

  /** One stop of the Tab key for the whole log; the arrows go from message to message. */
  #key(event) {
    const at = document.activeElement.closest('#messages .message');
    if (event.target.closest('.menu')) return;
    if (event.key === 'ArrowUp' && (at || event.target === this.#log)) this.#focus(event, at ? at.previousElementSibling : this.#list.lastElementChild);
    if (event.key === 'ArrowDown' && at) this.#focus(event, at.nextElementSibling);
    if (event.key === 'Escape' && at) this.#log.focus({ preventScroll: true });
    if ((event.key === 'Enter' || event.key === ' ') && event.target === at) {
      const summary = at.querySelector('summary');
      if (summary) event.preventDefault();
      summary?.click();
    }
  }

  #focus(event, item) {
    if (!item) return;
    event.preventDefault();
    item.focus({ preventScroll: true });
    item.scrollIntoView({ block: 'nearest' });
  }

  /** What is in the message in focus can be reached with the Tab key; what is in the others cannot. */
  #focused(item) {
    for (const one of this.#list.querySelectorAll('[data-reachable]')) {
      one.tabIndex = -1;
      delete one.dataset.reachable;
    }
    for (const one of item?.querySelectorAll(REACHABLE) ?? []) {
      one.tabIndex = 0;
      one.dataset.reachable = '';
    }
  }
}

/** Puts an element in the place of another; the focus stays with the message. */
function replace(before, after) {
  const focused = before.contains(document.activeElement) ? document.activeElement : null;
  before.replaceWith(after);
  if (!focused) return;
  const emoji = focused.querySelector('.chip-sign')?.textContent;
  const chip = [...after.querySelectorAll('.chip')].find((one) => one.querySelector('.chip-sign').textContent === emoji);
  const same = focused.matches('summary') ? after.querySelector('summary') : chip;
  (after.querySelector('.undo button') ?? same ?? after).focus({ preventScroll: true });
}

/** Where the words of a message are: what stands above them may come and go. */
function topOf(item) {
  return item.querySelector('.body').getBoundingClientRect().top;
}

/** What stands above a message, or stands there no more. */
function between(item, className, isThere, make) {
  const shown = item.querySelector(`:scope > .${className}`);
  if (isThere === Boolean(shown)) return;
  if (!isThere) return shown.remove();
  const made = element('div', className);
  made.append(...make());
  const day = item.querySelector(':scope > .day');
  return day ? day.after(made) : item.prepend(made);
}

function removed(item) {
  const next = item.nextElementSibling;
  item.remove();
  return next;
}
