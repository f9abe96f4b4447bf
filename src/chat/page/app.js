// The chat page: puts the client, the lists and the composer together.

import { Client } from './client.js';
import { Composer } from './composer.js';
import { byId, bytes, element, say } from './dom.js';
import { refuseFiles } from './files.js';
import { Log } from './log.js';
import { forThisBrowser, isText, listOf } from './memory.js';
import { announce, clearNotice, complain, inform } from './notices.js';
import { closePanels, openPanel, setUpPanels } from './panels.js';
import { Route } from './route.js';
import { painter } from './schedule.js';
import { closeSearch, setUpSearch } from './search.js';
import { showPeople, showRooms } from './sidebar.js';
import * as signIn from './signin.js';
import { showStatus, showStatusOf } from './status.js';
import { onNewDay, rewriteTimes } from './time.js';
import { errorWords, notJoined, typingWords, wasKicked } from './words.js';

const ROOMS_STORED_AS = 'switchboard.rooms';
const HOME = 'general';
const TYPING_LOOK_MS = 1_000;

const user = byId('user');
const token = signIn.rememberedToken();
const guest = signIn.guestName();
const route = new Route(HOME, goTo);
const paint = painter(show);

const client = new Client({
  // Beside the page, wherever a proxy has put it.
  url: new URL('ws', document.baseURI).href.replace(/^http/, 'ws'),
  user: guest.name,
  token,
  rooms: [HOME, ...forThisBrowser.readJson(ROOMS_STORED_AS, listOf(isGroup)), route.current.room],
  on: {
    state: stateChanged,
    signedIn,
    rooms: roomsChanged,
    room: roomChanged,
    notRoom: (room, error) => gone(room, notJoined(room, error)),
    kicked: (room, reason) => gone(room, wasKicked(room, reason)),
    broadcast: announce,
    complaint: (error) => complain(errorWords(error)),
    refused(post, error) {
      composer.giveBack(post.room, post.text);
      complain(`Not sent: ${errorWords(error)}`);
      paint('outbox');
    },
  },
});

let active = client.find(route.current.room);
let former = client.find(HOME);
/** The name by which the address knows the open room. */
let routed = active.name;
/** The message that is to be shown once its room has been joined: { room, seq } */
let wanted = route.current.seq === undefined ? null : { room: active, seq: route.current.seq };

const list = new Log(client, {
  edit: (message) => composer.edit(message),
  remove: (message) => attempt(() => client.delete(active, message.seq)),
  react: (message, emoji, remove) => attempt(() => client.react(active, message.seq, emoji, remove)),
  older: (room) => attempt(() => client.older(room)),
  newer: (room) => attempt(() => client.newer(room)),
  seen,
});

const composer = new Composer(() => client.limits.get('text'), {
  post(text) {
    client.post(active, text);
    list.goToNewest();
  },
  edit: (message, text) => attempt(() => client.edit(active, message.seq, text)),
  typing: () => client.typing(active),
  acts: () => clearNotice(),
  editLast() {
    const own = active.live.messages.findLast((message) => client.isOwn(message) && !message.deleted);
    if (own && !active.isDirect) composer.edit(own);
  },
});

/** Does what the person asked for; says so when it did not happen. */
async function attempt(what) {
  clearNotice();
  try {
    return await what();
  } catch (error) {
    // Without a code it is the connection, of which the page tells by itself.
    complain(errorWords(error), error.code ? '' : 'connection');
    return undefined;
  }
}

// ---- what has changed

/** Whose messages are shown as one's own. */
let drawnFor = '';

function signedIn() {
  const { user: name, verified } = client;
  const isOther = drawnFor !== `${verified} ${name}`;
  drawnFor = `${verified} ${name}`;
  paint('log', 'name', ...(isOther ? ['redraw'] : []));
}

function stateChanged() {
  if (client.isOpen) clearNotice('connection');
  const { at, why } = client.state;
  if (at === 'parked' && (why === 'token_expired' || client.state.detail?.field === 'token')) signIn.forgetToken();
  showStatus();
  if (at === 'parked' && !client.verified) needsName(why);
  if (client.isOpen && active.isDirect) attempt(() => client.conversations.open(active));
  paint('log', 'outbox', 'sides', 'name');
}

/** The person has to choose another name. */
function needsName(why) {
  const isName = why === 'name_taken' || (why === 'refused' && client.state.detail?.field === 'user');
  if (isName && user.checkVisibility()) user.focus();
}

function roomsChanged() {
  const names = [...client.rooms.values()].map((room) => room.name).filter((name) => !name.startsWith('@'));
  forThisBrowser.write(ROOMS_STORED_AS, JSON.stringify(names));
  const known = client.rooms.get(active.key);
  if (known !== active) open(known ?? firstRoom());
  else if (active.name !== routed) {
    // The server calls the room by another form of its name.
    routed = active.name;
    route.correct(routed);
  }
  paint('sides');
}

function firstRoom() {
  if (client.rooms.get(former.key) === former) return former;
  return client.find(HOME) ?? client.rooms.values().next().value ?? client.enter(HOME);
}

function roomChanged(room, what) {
  if (room !== active) return paint('sides');
  if (what === 'typing') return paint('typing');
  if (what === 'people') return paint('sides', 'typing');
  if (wanted?.room === room && room.isLive) {
    const { seq } = wanted;
    wanted = null;
    goToMessage(room, seq);
  }
  if (what === 'reset') inform('The history of this room has begun again.');
  return paint('log', 'outbox', 'sides', 'typing', 'seen');
}

/** A room is left, and not because the person wanted it. */
function gone(room, why) {
  roomsChanged();
  complain(why);
}

function seen() {
  if (document.visibilityState === 'visible') client.seen(active);
}

// ---- what is shown

function show(parts) {
  if (parts.has('name')) showName();
  if (parts.has('redraw')) list.redraw();
  if (parts.has('log')) list.update();
  if (parts.has('outbox')) showOutbox();
  if (parts.has('seen') && list.isAtBottom) seen();
  if (parts.has('sides')) showSidebar();
  if (parts.has('typing')) showTyping();
}

function showName() {
  const { verified } = client;
  if (verified || (client.isOpen && document.activeElement !== user)) user.value = client.user;
  user.readOnly = verified;
  byId('name-mark').hidden = !verified;
  byId('sign-out').hidden = !verified;
  byId('text').placeholder = `Message as ${client.user}`;
  composer.check();
}

function showSidebar() {
  byId('title').textContent = active.isDirect ? active.name : `# ${active.name}`;
  showRooms(client, active, { open, leave: (room) => client.leave(room) });
  showPeople(client, active, { direct: writeTo });
  const unread = [...client.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = unread > 0 ? `(${unread}) Switchboard` : 'Switchboard';
}

function showOutbox() {
  const waiting = client.outbox.in(active.name);
  if (waiting.length === 0 && byId('outbox').childElementCount === 0) return;
  byId('outbox').replaceChildren(...waiting.map(({ text, by }) => {
    const item = element('li', 'message own pending');
    const body = element('p', 'body', text);
    body.dir = 'auto';
    const isOther = by !== undefined && by !== client.user;
    item.append(element('span', 'waiting', isOther ? `Waiting to be sent as ${by}` : 'Waiting to be sent'), body);
    return item;
  }));
  if (list.isAtBottom) list.update();
}

function showTyping() {
  const names = active.whoTypes(performance.now()).filter((name) => name !== client.user);
  say(byId('typing'), typingWords(names));
}

// ---- which room

function open(room, { isNew = true } = {}) {
  if (room !== active) {
    former = active;
    active.goLive();
  }
  active = room;
  routed = room.name;
  if (isNew) route.show(room.name);
  closePanels();
  closeSearch();
  composer.open(room);
  list.open(room);
  showOutbox();
  showSidebar();
  showTyping();
  if (room.isDirect) attempt(() => client.conversations.open(room));
  if (list.isAtBottom) seen();
  composer.focus();
}

/** Opens the conversation with somebody. */
function writeTo({ user: name, verified }) {
  const room = client.enter(`@${name}`);
  room.isVerified = verified;
  open(room);
}

/** The address says another place. */
async function goTo({ room: name, seq }) {
  const room = client.enter(name);
  if (room !== active) open(room, { isNew: false });
  if (seq !== undefined) await goToMessage(room, seq);
}

/** Brings a message into view, however far back. */
async function goToMessage(room, seq) {
  wanted = null;
  if (!room.isDirect && !room.isLive) {
    wanted = { room, seq };
    return;
  }
  const isThere = await attempt(() => client.goTo(room, seq));
  if (room !== active || isThere === undefined) return;
  closeSearch();
  if (isThere) list.show(seq);
  else {
    list.update();
    complain('This message is not there any more.');
  }
}

// ---- the name

function rename() {
  const name = user.value.trim();
  if (user.readOnly || !name || !checkName()) return;
  signIn.rememberName(name);
  clearNotice();
  client.rename(name);
}

function checkName() {
  const over = bytes(user.value.trim()) - client.limits.get('name');
  user.setCustomValidity(over > 0 ? `Too long by ${over} bytes.` : '');
  return over <= 0;
}

function beGuest() {
  signIn.forgetToken();
  const { name } = signIn.guestName();
  user.value = name;
  client.signIn(undefined, name);
}

user.value = guest.name;
user.addEventListener('input', checkName);
user.addEventListener('change', rename);
user.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  rename();
  composer.focus();
});
byId('sign-out').addEventListener('click', beGuest);
signIn.onOtherTab((other) => client.signIn(other, signIn.guestName().name));

// ---- the rest of the page

byId('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = byId('join-name').value.trim().replace(/^#\s*/, '');
  if (!name) return;
  byId('join-name').value = '';
  clearNotice();
  open(client.enter(name));
});

setUpPanels();
setUpSearch({
  search: (query) => client.search(active, query),
  goTo: (message) => goToMessage(active, message.seq),
  failed: (error) => complain(errorWords(error)),
  acts: () => clearNotice(),
});
showStatusOf(client, {
  retry: () => client.retry(),
  guest: beGuest,
  rename() {
    openPanel('rooms-panel');
    user.focus();
    user.select();
  },
});
refuseFiles(() => complain('Files cannot be sent in this chat. Put the file somewhere else and send its address.'));
onNewDay(rewriteTimes);

addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || event.defaultPrevented) return;
  closePanels();
  closeSearch();
});
document.addEventListener('visibilitychange', () => {
  if (list.isAtBottom) seen();
  paint('sides');
});
setInterval(showTyping, TYPING_LOOK_MS);

open(active, { isNew: false });
client.start();
if (guest.isNew && !token && matchMedia('(min-width: 60rem)').matches) user.select();

function isGroup(name) {
  return isText(name) && !name.startsWith('@');
}
