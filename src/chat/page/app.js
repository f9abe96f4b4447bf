// The chat page: puts the client, the lists and the composer together.

import { Client } from './client/client.js';
import { Refused } from './client/errors.js';
import { mentions } from './client/mentions.js';
import { Composer } from './composer.js';
import { Deletions } from './deletions.js';
import { byId, bytes, element, say } from './dom.js';
import { ADDRESS, SUBPROTOCOL, takeSocket } from './early.js';
import { refuseFiles } from './files.js';
import { askToModerate, browseRooms, loadAtRest, openSettings } from './later.js';
import { Log } from './log.js';
import { forThisBrowser, forThisTab, isText, listOf } from './memory.js';
import { announce, clearNotice, complain, inform } from './notices.js';
import { notify } from './notify.js';
import { closePanels, openPanel, setUpPanels } from './panels.js';
import { avatar } from './person.js';
import { Route, addressOf } from './route.js';
import { painter } from './schedule.js';
import { closeSearch, setUpSearch } from './search.js';
import { errorWords, notJoined, placeWords, typingWords, wasKicked } from './sentences.js';
import { showPeople, showRooms } from './sidebar.js';
import * as signIn from './signin.js';
import { showStatus, showStatusOf } from './status.js';
import { setUpTap, tapped } from './tap.js';
import { onNewDay, rewriteTimes } from './time.js';
import { names, parts, t, translate } from './words.js';

const ROOMS_STORED_AS = 'switchboard.rooms';
const LEFT_STORED_AS = 'switchboard.left';
const MOST_LEFT = 30;
const HOME = 'general';
const TYPING_LOOK_MS = 1_000;

translate();

const user = byId('user');
const token = signIn.rememberedToken();
const guest = signIn.guestName();
const route = new Route(HOME, goTo);
const paint = painter(show);
let signInAddress;

const client = new Client({
  open: () => takeSocket() ?? new WebSocket(ADDRESS, [SUBPROTOCOL]),
  user: guest.name,
  token,
  storage: forThisBrowser,
  outbox: forThisTab,
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
    missed: (room, n) => room === active && inform(t('caught_up', { n })),
    message: arrived,
    frame: tapped,
    refused(post, error) {
      composer.giveBack(post.room, post.text);
      complain(t('not_sent', { reason: errorWords(error) }));
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

const deletions = new Deletions({
  remove: (room, message) => attempt(() => client.delete(room, message.seq)),
  changed: (room) => room === active && paint('log'),
});

const list = new Log(client, {
  edit: (message) => composer.edit(message),
  remove: (message) => deletions.add(active, message),
  undo: (message) => deletions.undo(message),
  reply: (message) => composer.reply(message),
  copyLink: (message) => copy(new URL(addressOf(active.name, message.seq), location.href).href),
  react: (message, emoji, remove) => attempt(() => client.react(active, message.seq, emoji, remove)),
  older: (room) => attempt(() => client.older(room)),
  newer: (room) => attempt(() => client.newer(room)),
  jump: (room) => goToMessage(room, room.lineSeq() || Math.min(Math.floor(room.away) + 1, room.seq)),
  markRead: (room) => haveRead(room),
  kick,
  ban,
  seen,
});

const composer = new Composer(() => client.limits.get('text'), {
  post(text) {
    active.away = null;
    client.post(active, text);
    list.goToNewest();
  },
  edit: (message, text) => attempt(() => client.edit(active, message.seq, text)),
  typing: () => client.typing(active),
  acts: () => clearNotice(),
  names: () => [...active.names()].filter((name) => name !== client.user),
  editLast() {
    const own = active.live.messages.findLast((message) => client.isOwn(message) && !message.deleted && !message.isLeaving);
    if (own && !active.isDirect) composer.edit(own);
  },
});

/** Does what the person asked for; says so when it did not happen. */
async function attempt(what) {
  clearNotice();
  try {
    return await what();
  } catch (error) {
    // Of the connection the page tells by itself.
    complain(errorWords(error), error instanceof Refused ? '' : 'connection');
    return undefined;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    inform(t('link_copied'));
  } catch {
    complain(t('not_copied'));
  }
}

function kick(name) {
  const room = active;
  askToModerate('kick', { user: name, room: room.name }, async ({ reason }) => {
    if (await attempt(() => client.kick(room, name, reason))) inform(t('kicked_done', { user: name }));
  });
}

function ban(name) {
  askToModerate('ban', { user: name }, async ({ reason, seconds }) => {
    if (await attempt(() => client.ban(name, seconds, reason))) inform(t('banned_done', { user: name }));
  });
}

// ---- what has changed

/** The rooms as they were written last. */
let remembered = '';
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
  paint('log', 'outbox', 'rooms', 'people', 'name');
}

/** The person has to choose another name. */
function needsName(why) {
  const isName = why === 'name_taken' || (why === 'refused' && client.state.detail?.field === 'user');
  if (isName && user.checkVisibility()) user.focus();
}

function roomsChanged() {
  const joined = JSON.stringify([...client.rooms.values()].map((room) => room.name).filter((name) => !name.startsWith('@')));
  if (joined !== remembered) forThisBrowser.write(ROOMS_STORED_AS, joined);
  remembered = joined;
  const known = client.rooms.get(active.key);
  if (known !== active) open(known ?? firstRoom());
  else if (active.name !== routed) {
    // The server calls the room by another form of its name.
    routed = active.name;
    route.correct(routed);
  }
  paint('rooms');
}

function firstRoom() {
  if (client.rooms.get(former.key) === former) return former;
  return client.find(HOME) ?? client.rooms.values().next().value ?? client.enter(HOME);
}

function roomChanged(room, what) {
  if (room !== active) return paint('rooms');
  if (what === 'typing') return paint('typing');
  if (what === 'people') return paint('people', 'typing', 'readers');
  if (what === 'reads') return paint('rooms', 'readers');
  if (wanted?.room === room && room.isLive) {
    const { seq } = wanted;
    wanted = null;
    goToMessage(room, seq);
  }
  if (what === 'reset') inform(t('history_again'));
  if (what === 'joined' || what === 'reset') {
    loadAtRest();
    room.wasAway();
    paint('people', 'name');
  }
  return paint('away', 'log', 'outbox', 'rooms', 'typing', 'seen', 'readers');
}

/** A message came, live. */
function arrived(room, message) {
  if (client.isOwn(message)) return;
  const isMention = mentions(message.text, client.user);
  if (!room.isDirect && !isMention) return;
  const title = room.isDirect ? t('notification_direct', { user: message.user })
    : t('notification_mention', { user: message.user, room: `# ${room.name}` });
  notify({ title, text: message.text, tag: `switchboard ${room.key}`, go: () => client.rooms.get(room.key) === room && open(room) });
}

/** A room is left, and not because the person wanted it. */
function gone(room, why) {
  roomsChanged();
  complain(why);
}

function seen() {
  if (document.visibilityState === 'visible') client.seen(active);
}

/** The person wants to hear no more of what is new. */
function haveRead(room) {
  room.away = null;
  client.seen(room);
  paint('log', 'rooms');
}

// ---- what is shown

function show(marked) {
  // What comes while the person looks elsewhere, or further up, is new when they come back.
  if (marked.has('away') && (document.visibilityState !== 'visible' || !list.isAtBottom)) active.wasAway();
  if (marked.has('name')) showName();
  if (marked.has('redraw')) list.redraw();
  if (marked.has('log')) list.update();
  if (marked.has('outbox')) showOutbox();
  if (marked.has('seen') && list.isAtBottom) seen();
  if (marked.has('rooms')) showRoomList();
  if (marked.has('people')) showPeopleList();
  if (marked.has('typing')) showTyping();
  if (marked.has('readers')) showReaders();
}

function showName() {
  const { verified } = client;
  if (verified || (client.isOpen && document.activeElement !== user)) user.value = client.user;
  user.readOnly = verified;
  byId('name-mark').hidden = !verified;
  byId('sign-out').hidden = !verified;
  byId('sign-in').hidden = verified || !signInAddress;
  byId('own-avatar').replaceChildren(avatar(client.user));
  byId('browse-button').hidden = !client.features.has('rooms');
  showWhetherOneMayWrite();
}

function showWhetherOneMayWrite() {
  const isReadOnly = client.isOpen && !client.may('post', active);
  byId('text').placeholder = isReadOnly ? t('read_only') : t('message_as', { user: client.user });
  composer.check(isReadOnly);
}

function showRoomList() {
  byId('title').textContent = active.isDirect ? active.name : `# ${active.name}`;
  showRooms(client, active, { open, leave });
  const unread = [...client.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = unread > 0 ? `(${unread}) Switchboard` : 'Switchboard';
}

function showPeopleList() {
  showPeople(client, active, { direct: writeTo, kick, ban });
}

function showOutbox() {
  const waiting = client.outbox.in(active.name);
  if (waiting.length === 0 && byId('outbox').childElementCount === 0) return;
  byId('outbox').replaceChildren(...waiting.map((post) => {
    const item = element('li', 'message own pending');
    const body = element('div', 'body', post.text);
    body.dir = 'auto';
    item.append(avatar(post.by ?? client.user), element('p', 'waiting', waitingWords(post)), body);
    return item;
  }));
  if (list.isAtBottom) list.update();
}

function waitingWords(post) {
  const delay = client.outbox.delayOf(post);
  if (delay === 'unavailable') return t('waiting_disk');
  if (delay === 'rate_limited') return t('waiting_rate');
  return post.by !== undefined && post.by !== client.user ? t('waiting_as', { user: post.by }) : t('waiting');
}

function showTyping() {
  say(byId('typing'), typingWords(active.whoTypes(performance.now()).filter((name) => name !== client.user)));
}

function showReaders() {
  const who = active.whoHasRead();
  const shown = who.length > 5 ? [String(who.length)] : names(who);
  say(byId('readers'), who.length > 0 ? parts('read_by', { names: shown }) : '');
}

// ---- which room

function open(room, { isNew = true } = {}) {
  if (room !== active) {
    former = active;
    active.away = null;
    active.goLive();
  }
  active = room;
  room.wasAway();
  routed = room.name;
  if (isNew) route.show(room.name);
  closePanels();
  closeSearch();
  composer.open(room);
  showWhetherOneMayWrite();
  list.open(room);
  showOutbox();
  showRoomList();
  showPeopleList();
  showTyping();
  showReaders();
  if (room.isDirect) attempt(() => client.conversations.open(room));
  if (list.isAtBottom) seen();
  composer.focus();
}

function leave(room) {
  client.leave(room);
  const left = [room.name, ...forThisBrowser.readJson(LEFT_STORED_AS, listOf(isGroup)).filter((name) => name !== room.name)];
  if (!room.isDirect) forThisBrowser.write(LEFT_STORED_AS, JSON.stringify(left.slice(0, MOST_LEFT)));
  showKnownRooms();
}

/** Rooms that the person has been in, to be chosen again. */
function showKnownRooms() {
  byId('known-rooms').replaceChildren(...forThisBrowser.readJson(LEFT_STORED_AS, listOf(isGroup)).map((name) => {
    const option = element('option');
    option.value = name;
    return option;
  }));
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
    complain(t('message_gone'));
  }
}

/** Rooms and people with such a name. */
function places(query) {
  const like = query.replace(/^[#@]\s*/, '').toLowerCase();
  const isLike = (name) => name.toLowerCase().includes(like);
  const rooms = [...client.rooms.values()].filter((room) => isLike(room.name))
    .map((room) => ({ name: room.isDirect ? room.name : `# ${room.name}`, user: room.isDirect ? room.name.slice(1) : '', go: () => open(room) }));
  const people = active.people().filter((one) => isLike(one.user) && !client.isOwn(one) && !client.find(`@${one.user}`))
    .map((one) => ({ name: `@${one.user}`, user: one.user, go: () => writeTo(one) }));
  return [...rooms, ...people];
}

/** Rooms of the server with such names that the person is not in. */
async function otherPlaces(query) {
  if (!client.features.has('rooms')) return [];
  const { rooms } = await client.listRooms({ prefix: query.replace(/^#\s*/, ''), limit: 20 });
  return rooms.filter(({ name }) => !client.find(name))
    .map(({ name, members }) => ({ name: `# ${name}`, about: placeWords(members), go: () => open(client.enter(name)) }));
}

/** The rooms that there are, to be joined. */
function browse() {
  browseRooms({
    rooms: (which) => client.listRooms(which),
    isMine: (name) => client.find(name) !== undefined,
    enter: (name) => open(client.enter(name)),
    failed: (error) => errorWords(error),
  });
}

/** The messages before and after one. */
async function around(room, message) {
  const { messages } = await client.history(room, { before: message.seq + 2, limit: 3 });
  return [messages.find(({ seq }) => seq === message.seq - 1), messages.find(({ seq }) => seq === message.seq + 1)]
    .map((one) => (one?.deleted ? undefined : one));
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
  user.setCustomValidity(over > 0 ? t('too_long', { over }) : '');
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
byId('sign-in').addEventListener('click', () => signIn.goToSignIn(signInAddress));
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
setUpTap();
byId('settings-button').addEventListener('click', openSettings);
byId('browse-button').addEventListener('click', browse);
setUpSearch({
  search: (query) => client.search(active, query),
  around: (message) => around(active, message),
  goTo: (message) => goToMessage(active, message.seq),
  places,
  otherPlaces,
  failed: (error) => complain(errorWords(error)),
  acts: () => clearNotice(),
});
showStatusOf(client, {
  retry: () => client.retry(),
  guest: beGuest,
  signIn: () => signIn.goToSignIn(signInAddress),
  signInUrl: () => signInAddress,
  rename() {
    openPanel('rooms-panel');
    user.focus();
    user.select();
  },
});
refuseFiles(() => complain(t('files_refused')));
onNewDay(rewriteTimes);
showKnownRooms();

addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || event.defaultPrevented) return;
  closePanels();
  closeSearch();
});
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') {
    if (list.isAtBottom) seen();
  } else if (active.unread === 0) active.away = null;
  paint('log', 'rooms');
});
addEventListener('pagehide', () => client.save());
setInterval(showTyping, TYPING_LOOK_MS);
signIn.signInAddress().then((address) => {
  signInAddress = address;
  showStatus();
  paint('name');
});

open(active, { isNew: false });
client.start();
if (guest.isNew && !token && matchMedia('(min-width: 60rem)').matches) user.select();

/** The name of a room that may be joined again, out of what is remembered. */
function isGroup(value) {
  return isText(value) && !value.startsWith('@');
}
