// The chat page: speaks the `json` subprotocol, shows the room's list, posts what the person types.
//
// What a person wrote reaches the document through `textContent` only.

import { connect } from './connection.js';
import { forThisBrowser, forThisTab } from './memory.js';
import { Outbox } from './outbox.js';

const HUES = 6;
const NEAR_BOTTOM_PX = 60;
const NAME_STORED_AS = 'switchboard.user';
const DRAFT_STORED_AS = 'switchboard.draft';

const byId = (id) => document.getElementById(id);
const log = byId('log');
const messages = byId('messages');
const form = byId('composer');
const user = byId('user');
const text = byId('text');
const limits = {
  user: Number(form.dataset.maxUserBytes),
  text: Number(form.dataset.maxTextBytes),
};

let shown = []; // what #messages holds, oldest first
let following = true; // the newest message is in view

const connection = connect(`${location.origin.replace(/^http/, 'ws')}/ws`, ['json'], {
  onState(open) {
    byId('status').dataset.state = open ? 'open' : 'closed';
    byId('status-text').textContent = open ? 'Connected' : 'Not connected, retrying…';
    if (!open) outbox.connectionLost();
  },
  onMessage(message) {
    if (Array.isArray(message.msg)) showList(message.msg);
    if (message.error !== undefined) showRefusal(message.error);
  },
});

const outbox = new Outbox({ send: connection.send, onSilence: connection.abandon });

// ---- the list

function showList(list) {
  const kept = update([...list].reverse());
  outbox.listArrived(list);
  showOutbox();
  byId('empty').hidden = shown.length > 0;
  if (following) scrollToBottom();
  else byId('newer').hidden = kept === shown.length;
}

// Keeps the messages that stay, so that a screen reader hears only what is new. Returns how many stayed.
function update(list) {
  const keys = list.map(({ user, text, time }) => JSON.stringify([time, user, text]));
  let gone = 0;
  while (!shown.slice(gone).every((key, i) => key === keys[i])) gone += 1;
  const kept = shown.length - gone;
  log.setAttribute('aria-busy', String(kept === 0));
  for (let i = 0; i < gone; i += 1) messages.firstElementChild.remove();
  messages.append(...list.slice(kept).map(messageItem));
  log.setAttribute('aria-busy', 'false');
  shown = keys;
  return kept;
}

function messageItem(message) {
  const author = element('span', 'author', message.user);
  author.dataset.hue = hue(message.user);
  author.dir = 'auto';
  const body = element('p', 'body', message.text);
  body.dir = 'auto';
  const item = element('li', 'message');
  item.dataset.user = message.user;
  item.append(author, element('span', 'you', ' (you)'), ' ', timeElement(message.time), body);
  markOwn(item);
  return item;
}

function timeElement(ms) {
  const at = new Date(ms);
  const time = element('time', '', clock(at));
  time.dateTime = at.toISOString();
  time.title = at.toLocaleString();
  return time;
}

function clock(at) {
  const today = at.toDateString() === new Date().toDateString();
  const day = today ? {} : { month: 'short', day: 'numeric' };
  return at.toLocaleString([], { ...day, hour: '2-digit', minute: '2-digit' });
}

function markOwn(item) {
  item.classList.toggle('own', item.dataset.user === user.value.trim());
}

function hue(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 65_521;
  return sum % HUES;
}

function element(tag, className, content = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = content;
  return made;
}

function scrollToBottom() {
  following = true;
  log.scrollTop = log.scrollHeight;
  byId('newer').hidden = true;
}

// ---- posting

function post() {
  const name = user.value.trim();
  const said = text.value.trim();
  if (!name || !said) return;
  outbox.add(name, said);
  setDraft('');
  showOutbox();
  scrollToBottom();
  text.focus();
}

function showOutbox() {
  byId('outbox').replaceChildren(
    ...outbox.posts.map((waiting) => {
      const item = element('li', 'message own pending');
      item.append(element('span', 'waiting', 'Waiting to be sent'), element('p', 'body', waiting.text));
      return item;
    }),
  );
}

// A refused post goes back into the field, in front of what was typed since.
function showRefusal(error) {
  const refused = outbox.refused();
  if (refused) setDraft([refused.text, text.value].filter(Boolean).join('\n'));
  showOutbox();
  byId('notice').textContent = `Not sent: ${error.message ?? error}`;
}

function setDraft(draft) {
  text.value = draft;
  draftChanged();
}

function draftChanged() {
  forThisTab.write(DRAFT_STORED_AS, text.value);
  byId('notice').textContent = '';
  const bytes = checkLength(text, limits.text);
  byId('counter').textContent = `${bytes} of ${limits.text} bytes`;
  byId('counter').classList.toggle('over', bytes > limits.text);
}

function nameChanged() {
  forThisBrowser.write(NAME_STORED_AS, user.value.trim());
  checkLength(user, limits.user);
  for (const item of messages.children) markOwn(item);
}

// The server counts bytes of UTF-8, which is not what `maxlength` counts.
function checkLength(field, limit) {
  const bytes = new TextEncoder().encode(field.value.trim()).length;
  field.setCustomValidity(bytes > limit ? `Too long by ${bytes - limit} bytes.` : '');
  return bytes;
}

// ---- what the person does

form.addEventListener('submit', (event) => {
  event.preventDefault();
  post();
});
text.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
text.addEventListener('input', draftChanged);
user.addEventListener('input', nameChanged);
byId('newer').addEventListener('click', scrollToBottom);
log.addEventListener('scroll', () => {
  following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_BOTTOM_PX;
  if (following) byId('newer').hidden = true;
});
// A growing text field, or a phone's keyboard, must not cover the newest message.
new ResizeObserver(() => {
  if (following) scrollToBottom();
}).observe(log);

user.value = forThisBrowser.read(NAME_STORED_AS) ?? '';
nameChanged();
setDraft(forThisTab.read(DRAFT_STORED_AS) ?? '');
showOutbox();
(user.value ? text : user).focus();
