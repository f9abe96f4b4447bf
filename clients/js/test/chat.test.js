// What a client does, against the real server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Disconnected, environmentOf, keyOf, memoryStore, mentions, Refused, webStore } from '../src/index.js';
import { listen, Server, texts, until } from './support.js';

let server;
before(async () => { server = await Server.start(); });
after(() => server.stop());

const refused = (code, field) => (error) => error instanceof Refused && error.code === code && (field === undefined || error.field === field);

test('people talk: what one says the other has, with what happens to it', async () => {
  const [ada, ben] = [await server.client({ user: 'Ada' }), await server.client({ user: 'Ben' })];
  assert.deepEqual([ada.user, ada.verified, ada.may('ban'), ada.features.has('rooms')], ['Ada', false, false, true]);
  const [room, other] = [await ada.join('Tea'), await ben.join('tea')];
  assert.deepEqual([room.name, room.key, ada.find('TEA'), room.permissions], ['tea', keyOf('Tea'), room, ['join', 'post']]);
  const happened = listen(ben, 'message', 'room');
  const ack = await ada.say(room, 'hello @Ben');
  assert.deepEqual([ack.seq, ack.durable, ack.duplicate], [1, 'disk', false]);
  await until(() => texts(other).join() === 'hello @Ben', 'not heard');
  assert.deepEqual(happened('message').map(([where, { user, text }]) => [where, user, text]), [[other, 'Ada', 'hello @Ben']]);
  assert.deepEqual([other.unread, other.mentioned, room.unread], [1, 1, 0]);
  ben.seen(other);
  assert.equal(other.unread, 0);
  await until(() => room.readers.get('Ben') === 1, 'nobody has read');
  await ada.edit(room, 1, 'hello');
  await ben.react(other, 1, '🎉');
  await until(() => other.messages[0].text === 'hello' && room.messages[0].reactions.get('🎉')?.[0].user === 'Ben', 'not changed');
  await ada.delete(room, 1);
  await until(() => other.messages[0].deleted, 'not deleted');
  ada.typing(room);
  await until(() => other.whoTypes(performance.now()).includes('Ada'), 'nobody types');
  assert.deepEqual(room.people().map(({ user }) => user), ['Ada', 'Ben']);
  ben.leave(other);
  await until(() => room.people().length === 1, 'nobody left');
  assert.equal(ben.find('tea'), undefined);
});

test('a message carries data and replies to another', async () => {
  const [ada, ben] = [await server.client({ user: 'Ada' }), await server.client({ user: 'Ben' })];
  const [room, other] = [await ada.join('carried'), await ben.join('carried')];
  assert.deepEqual([ada.features.has('data'), ada.features.has('reply_to'), ada.limits.get('data')], [true, true, 4096]);
  await ada.say(room, 'tea?', { data: { poll: ['yes', 'no'], n: 1.5 } });
  await ben.say(other, 'yes', { replyTo: 1 });
  await until(() => room.messages.length === 2 && other.messages.length === 2, 'not heard');
  assert.deepEqual([other.messages[0].data, other.messages[0].replyTo], [{ poll: ['yes', 'no'], n: 1.5 }, 0]);
  assert.deepEqual([room.messages[1].data, room.messages[1].replyTo], [undefined, 1]);
  await ada.edit(room, 1, 'tea!');
  await until(() => other.messages[0].text === 'tea!', 'not edited');
  assert.equal(other.messages[0].data.n, 1.5);
  await ada.edit(room, 1, 'tea?', []);
  await until(() => other.messages[0].data.length === 0, 'not edited');
  await ada.delete(room, 1);
  await until(() => other.messages[0].deleted, 'not deleted');
  assert.equal(other.messages[0].data, undefined);
  await assert.rejects(ada.say(room, 'x', { replyTo: 99 }), refused('not_found', 'reply_to'));
  await assert.rejects(ada.say(room, 'x', { data: 'x'.repeat(5000) }), refused('too_long', 'data'));
});

test('every error is of a type, and says what it is about', async () => {
  const ada = await server.client({ user: 'Ada' });
  const room = await ada.join('errors');
  await assert.rejects(ada.join('a room'), refused('bad_field', 'room'));
  assert.equal(ada.find('a room'), undefined);
  await assert.rejects(ada.say(room, 'x'.repeat(5000)), refused('too_long', 'text'));
  await assert.rejects(ada.edit(room, 99, 'x'), refused('not_found'));
  await assert.rejects(ada.react(room, 1, 'x'), refused('bad_field', 'emoji'));
  await assert.rejects(ada.ban('Ben'), refused('forbidden'));
  await assert.rejects(ada.ask({ type: 'sing' }), refused('unknown_type', 'type'));
  ada.stop();
  await assert.rejects(ada.search(room, 'x'), (error) => error instanceof Disconnected && error.code === 'offline');
  const never = server.make({ user: 'Eve' });
  const joining = never.join('x');
  never.stop();
  await assert.rejects(joining, (error) => error instanceof Disconnected && error.code === 'stopped');
});

test('a listener that fails harms nobody, and one that was taken off hears nothing', async () => {
  const ada = await server.client({ user: 'Ada' });
  const room = await ada.join('listeners');
  const thrown = [];
  process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error.message));
  let heard = 0;
  ada.on('message', () => { throw new Error('of the listener'); });
  const off = ada.on('message', () => { heard += 1; });
  await ada.say(room, 'one');
  await until(() => heard === 1, 'not heard');
  await until(() => thrown.length === 1, 'nobody is told');
  off();
  await ada.say(room, 'two');
  await until(() => texts(room).join() === 'one,two' && thrown.length === 2, 'not there');
  process.setUncaughtExceptionCaptureCallback(null);
  assert.deepEqual([heard, thrown], [1, ['of the listener', 'of the listener']]);
});

test('the history is read back and forth, and around any message', async () => {
  const ada = await server.client({ user: 'Ada' });
  const room = await ada.join('long');
  for (let i = 1; i <= 180; i += 1) ada.post(room, `line ${i}`);
  await until(() => room.seq === 180 && ada.outbox.size === 0, 'not said');
  const ben = await server.client({ user: 'Ben' });
  const other = await ben.join('long');
  assert.deepEqual([other.messages.length, other.live.hasOlder, other.live.first], [50, true, 131]);
  await ben.older(other);
  assert.deepEqual([other.messages.length, other.live.first], [100, 81]);
  assert.equal(await ben.goTo(other, 30), true);
  assert.ok(other.past.find(30) && other.past !== other.live && other.shown === other.past);
  const first = other.shown.first;
  assert.deepEqual(other.shown.messages.map(({ seq }) => seq), other.shown.messages.map((_, i) => first + i));
  // Reading on leads back to the newest, without a gap.
  while (other.past) await ben.newer(other);
  while (other.live.hasOlder) await ben.older(other);
  assert.deepEqual(texts(other), Array.from({ length: 180 }, (_, i) => `line ${i + 1}`));
  assert.equal(await ben.goTo(other, 500), false);
  other.goLive();
  const page = await ben.historyAfter(other, 100);
  assert.deepEqual([page.messages[0].seq, page.messages.length, page.more], [101, 50, true]);
  const found = await until(async () => {
    const messages = await ben.search(other, 'line 17');
    return messages.length === 11 && messages;
  }, 'not found');
  assert.equal(found[0].text, 'line 179');
});

test('the rooms that one may join are listed page by page', async () => {
  const ada = await server.client({ user: 'Ada' });
  for (const name of ['list-a', 'list-b', 'list-c']) await ada.say(await ada.join(name), 'x');
  const first = await ada.listRooms({ prefix: 'LIST-', limit: 2 });
  assert.deepEqual(first.rooms.map(({ name, members, seq }) => [name, members, seq]), [['list-a', 1, 1], ['list-b', 1, 1]]);
  const second = await ada.listRooms({ prefix: 'list-', after: first.next });
  assert.deepEqual([second.rooms.map(({ name }) => name), second.next], [['list-c'], '']);
});

test('two people who are signed in have a conversation, which is there when they come back', async () => {
  const [ada, ben] = [await server.client({ token: server.token('Ada Direct') }), await server.client({ token: server.token('Ben Direct') })];
  const happened = listen(ben, 'message');
  const room = await ada.join('@ben direct');
  await ada.say(room, 'psst');
  await ada.say(room, 'there?');
  const other = await until(() => ben.find('@Ada Direct')?.messages.length === 2 && ben.find('@Ada Direct'), 'not heard');
  assert.deepEqual([texts(other), other.unread, other.isDirect, other.isVerified], [['psst', 'there?'], 2, true, true]);
  assert.equal(happened('message').length, 2);
  ben.seen(other);
  ben.stop();
  const again = await server.client({ token: server.token('Ben Direct') });
  const listed = await until(() => again.find('@Ada Direct'), 'not listed');
  assert.deepEqual([listed.seq, texts(listed)], [2, []]);
  await again.join('@Ada Direct');
  assert.deepEqual(texts(listed), ['psst', 'there?']);
  await again.say(listed, 'here');
  await until(() => texts(room).join() === 'psst,there?,here', 'no answer');
  // What happens in it both are told.
  again.typing(listed);
  await until(() => room.whoTypes(performance.now()).includes('Ben Direct'), 'nobody types');
  await ada.edit(room, 1, 'psst!');
  await again.react(listed, 2, '🎉');
  await until(() => texts(listed)[0] === 'psst!' && room.messages[1].reactions.get('🎉'), 'not told');
  again.seen(listed);
  await until(() => room.readers.get('Ben Direct') === 3, 'nobody has read');
  again.stop();
  await ada.delete(room, 2);
  again.start();
  await until(() => listed.messages[1]?.deleted, 'what changed meanwhile is not there');
});

test('rooms of one\'s own are listed with what is unread, and what becomes so is told', async () => {
  const [ada, ben] = [await server.client({ token: server.token('Ada Own') }), await server.client({ token: server.token('Ben Own') })];
  assert.ok(ada.features.has('mine'));
  await ada.subscribe('Own-News');
  const room = await ben.join('own-news');
  await ben.say(room, 'one');
  const page = await ada.mine();
  assert.deepEqual(page.rooms.map((one) => [one.room, one.unread, one.message?.text]), [['own-news', 1, 'one']]);
  assert.equal(page.next, '');
  const happened = listen(ada, 'unread');
  await ben.say(room, 'two');
  await until(() => happened('unread').some(([rooms]) => rooms.some((one) => one.room === 'own-news' && one.unread === 2)), 'not told');
  await ben.say(await ben.join('@Ada Own'), 'psst');
  await until(() => happened('unread').some(([rooms]) => rooms.some((one) => one.room === '@Ben Own' && one.unread === 1)), 'not told of the conversation');
  await ada.subscribe('own-news', false);
  assert.deepEqual((await ada.mine()).rooms.map((one) => one.room), ['@Ben Own']);
  const guest = await server.client({ user: 'Guest Own' });
  await assert.rejects(guest.subscribe('own-news'), refused('forbidden'));
});

test('a moderator removes and bans; who is banned is told until when', async () => {
  const mod = await server.client({ token: server.token('Mo', '--room', '*:join,post,moderate') });
  const eve = await server.client({ user: 'Eve Banned' });
  const [room, hers] = [await mod.join('yard'), await eve.join('yard')];
  assert.deepEqual([mod.may('moderate', room), mod.may('ban', room), eve.may('moderate', hers), eve.may('post', hers)], [true, true, false, true]);
  const happened = listen(eve, 'kicked', 'state');
  await mod.kick(room, 'Eve Banned', 'too loud');
  await until(() => happened('kicked').length === 1, 'not removed');
  assert.deepEqual([happened('kicked')[0][1], eve.find('yard')], ['too loud', undefined]);
  await mod.ban('Eve Banned', 3600);
  await until(() => eve.state.at === 'parked', 'not banned');
  assert.equal(eve.state.why, 'banned');
  assert.ok(eve.state.until - performance.now() > 3_000_000);
  await mod.unban('Eve Banned');
  eve.retry();
  await until(() => eve.isOpen, 'not let in');
});

test('a room that the token does not permit to write in is read, and one that it does not permit is none', async () => {
  const ada = await server.client({ token: server.token('Reader', '--room', 'news:join') });
  const room = await ada.join('news');
  assert.deepEqual([ada.may('post', room), room.permissions], [false, ['join']]);
  const happened = listen(ada, 'refused', 'notRoom');
  await assert.rejects(ada.say(room, 'x'), refused('forbidden'));
  assert.equal(happened('refused')[0][0].text, 'x');
  await assert.rejects(ada.join('secret'), refused('forbidden', 'room'));
  assert.equal(happened('notRoom')[0][0].name, 'secret');
});

test('mentions are words of their own', () => {
  for (const [text, name, is] of [['hi @Ada', 'ada', true], ['hi @Adam', 'Ada', false], ['mail@ada', 'ada', false], ['@ada, look', 'Ada', true],
    ['@ad', 'ada', false], ['', 'ada', false], ['@', '', false], ['(@Ada)', 'Ada', true], ['@adam @ada', 'Ada', true]]) {
    assert.equal(mentions(text, name), is, text);
  }
});

test('a store that is switched off, full or foreign is a store that forgets', () => {
  const store = webStore(() => { throw new Error('switched off'); });
  store.write('a', 'b');
  assert.equal(store.read('a'), null);
  const full = webStore(() => ({ getItem: () => '{"not":"a list"}', setItem() { throw new Error('full'); } }));
  full.write('a', 'b');
  const client = server.make({ outbox: full, storage: full });
  assert.deepEqual([client.outbox.size, client.rooms.size], [0, 0]);
  const memory = memoryStore();
  memory.write('a', 'b');
  assert.deepEqual([memory.read('a'), memory.read('b')], ['b', null]);
});

test('the environment of a browser wakes the client, and a platform without events does not', () => {
  const listeners = new Map();
  const target = {
    addEventListener: (type, listener) => listeners.set(type, listener),
    removeEventListener: (type, listener) => listeners.get(type) === listener && listeners.delete(type),
  };
  const scope = { ...target, navigator: { onLine: false }, document: { ...target, visibilityState: 'hidden' } };
  const environment = environmentOf(scope);
  let woken = 0;
  const sleep = environment.onWake(() => { woken += 1; });
  assert.deepEqual([[...listeners.keys()], environment.isOnline()], [['online', 'offline', 'pageshow', 'visibilitychange'], false]);
  listeners.get('visibilitychange')();
  assert.equal(woken, 0);
  scope.document.visibilityState = 'visible';
  for (const type of ['visibilitychange', 'online', 'pageshow']) listeners.get(type)();
  assert.equal(woken, 3);
  sleep();
  assert.equal(listeners.size, 0);
  assert.equal(environmentOf({}).isOnline(), true);
  environmentOf({}).onWake(() => {})();
});

test('a name that a guest chooses, and one that somebody else has', async () => {
  const ada = await server.client({ user: 'Ada' });
  const room = await ada.join('names');
  ada.rename('Ada Two');
  await until(() => ada.isOpen && ada.user === 'Ada Two' && room.isLive, 'not renamed');
  const owner = await server.client({ token: server.token('Owner') });
  assert.ok(owner.verified);
  const other = server.make({ user: 'Owner' });
  other.start();
  await until(() => other.state.at === 'parked', () => JSON.stringify(other.state));
  assert.equal(other.state.detail.field, 'user');
  other.rename('Somebody Else');
  await until(() => other.isOpen, 'not in');
  // The person whose name it is takes it from the guest.
  const guest = await server.client({ user: 'Late' });
  await server.client({ token: server.token('Late') });
  await until(() => guest.state.at === 'parked', () => JSON.stringify(guest.state));
  assert.equal(guest.state.why, 'name_taken');
});

test('a client that was stopped begins again, and one without a socket says what it needs', async () => {
  const ada = await server.client({ user: 'Ada' });
  const room = await ada.join('again');
  await ada.say(room, 'one');
  ada.stop();
  assert.equal(ada.state.at, 'stopped');
  for (const nothing of [() => ada.retry(), () => ada.stop()]) nothing();
  assert.equal(ada.state.at, 'stopped');
  ada.post(room, 'two');
  ada.start();
  await until(() => texts(room).join() === 'one,two', 'not back');
  const joining = ada.join('left-at-once');
  ada.leave(ada.find('left-at-once'));
  await assert.rejects(joining, { name: 'Disconnected', code: 'stopped' });
  const [was] = [globalThis.WebSocket];
  globalThis.WebSocket = undefined;
  assert.throws(() => server.make({ WebSocket: undefined }).start(), /no WebSocket here/);
  globalThis.WebSocket = was;
});
