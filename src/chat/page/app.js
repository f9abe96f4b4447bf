// The chat page: puts the client, the lists and the composer together.

import { Client } from './client.js';
import { Composer, notice } from './composer.js';
import { button, byId, bytes, element, nameElement, timeElement } from './dom.js';
import { forThisBrowser, forThisTab } from './memory.js';
import { MessageList } from './messages.js';
import { showPeople, showRooms } from './sidebar.js';

const NAME_STORED_AS = 'switchboard.user';
const ROOMS_STORED_AS = 'switchboard.rooms';
const TOKEN_STORED_AS = 'switchboard.token';
const HOME = 'general';
const TYPING_LOOK_MS = 1_000;

const user = byId('user');

// ---- who, and where

function token() {
  const address = new URL(location.href);
  const given = address.searchParams.get('token');
  if (given) {
    // A pass has no business in the address bar, in bookmarks and in the history.
    address.searchParams.delete('token');
    history.replaceState(null, '', address);
    forThisTab.write(TOKEN_STORED_AS, given);
  }
  return forThisTab.read(TOKEN_STORED_AS) ?? undefined;
}

function rooms() {
  try {
    const known = JSON.parse(forThisBrowser.read(ROOMS_STORED_AS) ?? '[]').filter((name) => typeof name === 'string');
    return [...new Set([HOME, ...known, ...fromAddress()])];
  } catch {
    return [HOME];
  }
}

function fromAddress() {
  const name = decodeURIComponent(location.hash.slice(1));
  return name && !name.startsWith('@') ? [name] : [];
}

const storedName = forThisBrowser.read(NAME_STORED_AS);
user.value = storedName || `Guest ${String(Math.floor(Math.random() * 9000) + 1000)}`;

const client = new Client({
  url: `${location.origin.replace(/^http/, 'ws')}/ws`,
  user: user.value,
  token: token(),
  rooms: rooms(),
  on: {
    state: showState,
    rooms: roomsChanged,
    room: roomChanged,
    notice(text, field) {
      notice(text);
      if (field === 'name') user.focus();
    },
    refused(post, error) {
      composer.giveBack(post.room, post.text);
      notice(`Not sent: ${error.message}`);
      showOutbox();
    },
  },
});
let active = client.rooms.get(fromAddress()[0]) ?? client.rooms.get(HOME);

const list = new MessageList(client, {
  edit: (message) => composer.edit(message),
  remove: (message) => attempt(client.delete(active, message.seq)),
  react: (message, emoji, remove) => attempt(client.react(active, message.seq, emoji, remove)),
  older: () => attempt(client.older(active)),
  seen,
});

const composer = new Composer(() => client.limits.text, {
  post(text) {
    client.post(active, text);
    list.scrollToBottom();
  },
  edit: (message, text) => attempt(client.edit(active, message.seq, text)),
  typing: () => client.typing(active),
  editLast() {
    const own = active.messages.findLast((message) => message.user === client.user && !message.deleted);
    if (own && !active.isDirect) composer.edit(own);
  },
});

/** Says why something that was asked for did not happen. */
async function attempt(answer) {
  try {
    await answer;
  } catch (error) {
    notice(error.message);
  }
}

// ---- what has changed

function showState() {
  byId('status').dataset.state = client.isOpen ? 'open' : 'closed';
  byId('status-text').textContent = client.isOpen ? 'Connected' : 'Not connected, retrying…';
  if (client.isOpen && document.activeElement !== user) user.value = client.user;
  byId('text').placeholder = `Message as ${client.user}`;
  composer.check();
  list.update();
}

function roomsChanged() {
  const names = [...client.rooms.keys()].filter((name) => !name.startsWith('@'));
  forThisBrowser.write(ROOMS_STORED_AS, JSON.stringify(names));
  if (!client.rooms.has(active.name)) open(client.rooms.get(HOME) ?? client.rooms.values().next().value ?? client.enter(HOME));
  else showSidebar();
}

function roomChanged(room, what) {
  if (room !== active) return showSidebar();
  if (what === 'typing') return showTyping();
  if (what === 'people') return showSidebar();
  if (what === 'reset') notice('The history of this room begins anew.');
  list.update();
  showOutbox();
  showSidebar();
  showTyping();
  if (list.isAtBottom) seen();
  return undefined;
}

function seen() {
  if (document.visibilityState === 'visible') client.seen(active);
}

function showSidebar() {
  byId('title').textContent = active.isDirect ? active.name : `# ${active.name}`;
  showRooms(client, active, { open, leave: (room) => client.leave(room) });
  showPeople(client, active, { direct: (name) => open(client.enter(`@${name}`)) });
  const unread = [...client.rooms.values()].reduce((sum, room) => sum + room.unread(client.user), 0);
  document.title = unread > 0 ? `(${unread}) Switchboard` : 'Switchboard';
}

function showOutbox() {
  byId('outbox').replaceChildren(
    ...client.outbox.in(active.name).map((waiting) => {
      const item = element('li', 'message own pending');
      item.append(element('span', 'waiting', 'Waiting to be sent'), element('p', 'body', waiting.text));
      return item;
    }),
  );
}

function showTyping() {
  const names = active.whoTypes(performance.now()).filter((name) => name !== client.user);
  const who = names.length > 3 ? `${names.length} people` : names.join(', ');
  byId('typing').textContent = names.length > 0 ? `${who} ${names.length === 1 ? 'is' : 'are'} typing…` : '';
}

function open(room) {
  active = room;
  history.replaceState(null, '', room.name === HOME ? ' ' : `#${encodeURIComponent(room.name)}`);
  closePanels();
  closeSearch();
  composer.open(room);
  list.open(room);
  showOutbox();
  showSidebar();
  showTyping();
  composer.focus();
}

// ---- the name

function rename() {
  const name = user.value.trim();
  if (!name || !checkName()) return;
  forThisBrowser.write(NAME_STORED_AS, name);
  notice('');
  client.rename(name);
}

function checkName() {
  const over = bytes(user.value.trim()) - client.limits.name;
  user.setCustomValidity(over > 0 ? `Too long by ${over} bytes.` : '');
  return over <= 0;
}

user.addEventListener('input', checkName);
user.addEventListener('change', rename);
user.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  event.preventDefault();
  composer.focus();
});

// ---- rooms, people, search

byId('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = byId('join-name').value.trim().replace(/^#\s*/, '');
  if (!name) return;
  byId('join-name').value = '';
  open(client.enter(name));
});

for (const [opener, panel] of [['rooms-button', 'rooms-panel'], ['people-button', 'people-panel']]) {
  byId(opener).addEventListener('click', () => {
    const isOpen = byId(panel).classList.contains('open');
    closePanels();
    byId(panel).classList.toggle('open', !isOpen);
    byId(opener).setAttribute('aria-expanded', String(!isOpen));
  });
}

function closePanels() {
  for (const panel of document.querySelectorAll('.open')) panel.classList.remove('open');
  for (const opener of document.querySelectorAll('[aria-controls]')) opener.setAttribute('aria-expanded', 'false');
}

byId('search-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const query = byId('query').value.trim();
  if (!query) return closeSearch();
  try {
    showFound(await client.search(active, query));
  } catch (error) {
    notice(error.message);
  }
  return undefined;
});
byId('query').addEventListener('search', () => byId('query').value || closeSearch());
byId('close-found').addEventListener('click', closeSearch);

function showFound(messages) {
  byId('found').hidden = false;
  byId('found-title').textContent = messages.length === 1 ? '1 message' : `${messages.length} messages`;
  byId('found-list').replaceChildren(...messages.map((message) => {
    const item = element('li');
    const show = button('hit', '', '', () => goTo(message));
    show.append(nameElement(message.user), ' ', timeElement(message.time), element('span', 'body', message.text));
    item.append(show);
    return item;
  }));
}

/** Brings an old message into view; what lies between is loaded first. */
async function goTo(message) {
  const room = active;
  try {
    while (room.hasMore && (room.messages[0]?.seq ?? 0) > message.seq && room === active) await client.older(room);
  } catch (error) {
    notice(error.message);
  }
  if (room !== active) return;
  closeSearch();
  list.show(message.seq);
}

function closeSearch() {
  byId('found').hidden = true;
  byId('query').value = '';
}

addEventListener('keydown', (event) => {
  if (event.key === 'Escape') {
    closePanels();
    closeSearch();
  }
});
document.addEventListener('visibilitychange', () => {
  if (list.isAtBottom) seen();
  showSidebar();
});
setInterval(showTyping, TYPING_LOOK_MS);

open(active);
showState();
if (!storedName && matchMedia('(min-width: 60rem)').matches) user.select();
