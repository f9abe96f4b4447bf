// The product's own page, on the client for the chat.

import { Client, Refused } from './client/index.js';

const $ = (selector) => document.querySelector(selector);
const AUDIT_EVERY_MS = 2_000;
let me;
let client;
let room;

async function ask(method, way, body) {
  const answer = await fetch(way, { method, body: body && JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(value.message), { status: answer.status });
  return value;
}

const tell = (text) => { $('#notice').textContent = text; };

function element(name, text, children = []) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

async function begin() {
  try {
    me = await ask('GET', 'me');
  } catch (error) {
    if (error.status !== 401) tell(error.message);
    $('#sign-in').hidden = false;
    return;
  }
  $('#sign-in').hidden = true;
  $('main').hidden = false;
  $('#moderation').hidden = me.role !== 'moderator';
  // The token is fetched again before and whenever the server takes the last one no more.
  client = new Client({ url: me.chat, token: async () => (await ask('GET', 'chat-token')).token });
  client.on('state', () => {
    const { at, why, detail } = client.state;
    if (at === 'parked') tell(why === 'banned' ? `You have been banned: ${detail?.message ?? ''}` : `Not connected: ${detail?.message ?? why}`);
    else tell(at === 'open' ? '' : 'Connecting …');
  });
  client.on('room', (changed) => changed === room && show());
  client.on('refused', (post, error) => tell(error.message));
  client.start();
  for (const name of ['lobby', 'team-red', 'team-blue']) {
    const button = element('button', name);
    button.addEventListener('click', () => enter(name, button));
    $('#rooms').append(button);
  }
  await enter('lobby', $('#rooms button'));
  if (me.role === 'moderator') moderate();
}

async function enter(name, button) {
  try {
    room = await client.join(name);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tell(error.message);
    return;
  }
  tell('');
  for (const other of $('#rooms').children) other.removeAttribute('aria-current');
  button.setAttribute('aria-current', 'true');
  show();
}

function show() {
  $('#messages').replaceChildren(...room.messages.map((message) => {
    const line = element('li', '', [element('b', message.user), message.deleted ? '(deleted)' : message.text]);
    return line;
  }));
  $('#messages').scrollTop = $('#messages').scrollHeight;
  if (me.role === 'moderator') showPeople();
}

function showPeople() {
  const others = room.people().filter(({ user }) => user !== client.user);
  $('#people').replaceChildren(...others.map(({ user }) => {
    const button = element('button', `Ban ${user}`);
    button.addEventListener('click', () => ask('POST', 'ban', { name: user, reason: 'against our rules' }).catch((error) => tell(error.message)));
    return element('li', `${user} `, [button]);
  }));
}

/** What the hooks have told the backend. */
async function moderate() {
  const events = await ask('GET', 'audit').catch(() => []);
  $('#audit').replaceChildren(...events.reverse().map(({ event, room: where = '', user = '', seq = '' }) => element('li', `${event} ${where} ${user} ${seq}`)));
  setTimeout(moderate, AUDIT_EVERY_MS);
}

$('#sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    await ask('POST', 'sign-in', Object.fromEntries(new FormData(event.target)));
    tell('');
    await begin();
  } catch (error) {
    tell(error.message);
  }
});
$('#say').addEventListener('submit', (event) => {
  event.preventDefault();
  const { text } = event.target.elements;
  client.post(room, text.value);
  text.value = '';
  tell('');
});
await begin();
