// Bad days: the server dies, the network falls silent, tokens expire. What was said is said once, and nothing is missing.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { Client, memoryStore, Refused } from '../src/index.js';
import { listen, Network, Server, texts, until } from './support.js';

let server;
let network;
afterEach(async () => {
  network?.close();
  network = undefined;
  await server?.stop();
  server = undefined;
});

test('a server that is killed loses nothing, and what was posted meanwhile is said once, in order', async () => {
  server = await Server.start();
  const [ada, ben] = [await server.client({ user: 'Ada' }), await server.client({ user: 'Ben' })];
  const [room, other] = [await ada.join('r'), await ben.join('r')];
  const happened = listen(ben, 'missed', 'posted');
  const said = [ada.say(room, 'before')];
  await said[0];
  for (let i = 0; i < 20; i += 1) said.push(ada.say(room, `during ${i}`));
  await server.kill();
  await until(() => ada.state.at === 'waiting', 'not lost');
  for (let i = 0; i < 5; i += 1) said.push(ada.say(room, `after ${i}`));
  const mine = ben.say(other, 'and this');
  await server.run();
  const acks = await Promise.all([...said, mine]);
  assert.equal(new Set(acks.map(({ seq }) => seq)).size, acks.length, 'two posts have one number');
  await until(() => other.seq === acks.length && room.seq === acks.length, () => `${room.seq}, ${other.seq}`);
  const expected = ['before', ...Array.from({ length: 20 }, (_, i) => `during ${i}`), ...Array.from({ length: 5 }, (_, i) => `after ${i}`)];
  for (const one of [room, other]) {
    assert.deepEqual(texts(one).filter((text) => text !== 'and this'), expected);
    assert.equal(texts(one).filter((text) => text === 'and this').length, 1);
    assert.deepEqual(one.messages.map(({ seq }) => seq), one.messages.map((_, i) => i + 1));
  }
  assert.equal(happened('posted').length, 1);
});

test('a network that falls silent is found out, and what was missed comes without a gap', async () => {
  // The clients are told of a heartbeat of a second.
  server = await Server.start('--ping-interval', '1000', '--pong-timeout', '60000');
  network = await Network.before(server.port);
  const ada = await server.client({ user: 'Ada', url: network.url });
  const ben = await server.client({ user: 'Ben' });
  const [room, other] = [await ada.join('r'), await ben.join('r')];
  await ben.say(other, 'one');
  await until(() => texts(room).join() === 'one', 'not heard');
  network.fallSilent();
  const lost = ada.ask({ type: 'who', room: 'r' });
  const said = ada.say(room, 'into the silence');
  for (const text of ['two', 'three']) await ben.say(other, text);
  await assert.rejects(lost, { name: 'Disconnected', code: 'lost' });
  assert.equal(texts(room).join(), 'one');
  network.comeBack();
  await said;
  await until(() => texts(room).length === 4, () => texts(room).join());
  assert.deepEqual([...texts(room)].sort(), ['into the silence', 'one', 'three', 'two']);
  assert.deepEqual(texts(room), texts(other));
});

test('connections that are cut again and again come back, with growing and uneven pauses', async () => {
  server = await Server.start();
  network = await Network.before(server.port);
  const clients = [];
  for (let i = 0; i < 8; i += 1) clients.push(await server.client({ user: `User ${i}`, url: network.url }));
  const waits = clients.map((client) => {
    const all = [];
    client.on('state', () => client.state.at === 'waiting' && all.push(client.state.until - performance.now()));
    return all;
  });
  await server.kill();
  await until(() => waits.every((all) => all.length >= 3), 'no attempts', 60_000);
  assert.ok(new Set(waits.map(([first]) => Math.round(first))).size > 3, `all at once: ${waits}`);
  for (const all of waits) {
    // Half of it at least, less what the machine took to say so.
    for (const [i, most] of [500, 1000, 2000].entries()) assert.ok(all[i] <= most && all[i] > most / 2 - 100, `attempt ${i}: ${all[i]}`);
  }
  await server.run();
  for (const client of clients) client.retry();
  await until(() => clients.every(({ isOpen }) => isOpen), 'not back');
});

test('what is in the outbox survives the process, and is said once', async () => {
  server = await Server.start();
  const outbox = memoryStore();
  const before = server.make({ user: 'Ada', outbox });
  before.post(before.enter('r'), 'written offline');
  before.stop();
  const [ada, ben] = [server.make({ user: 'Ada', outbox, rooms: ['r'] }), await server.client({ user: 'Ben' })];
  const other = await ben.join('r');
  ada.start();
  await until(() => texts(other).join() === 'written offline', 'not said');
  await until(() => ada.outbox.size === 0, 'still there');
  assert.equal(outbox.read('switchboard.outbox'), '[]');
  // A store that holds nonsense holds nothing.
  for (const nonsense of ['{', '7', '[1,{"room":"r"},null]']) {
    outbox.write('switchboard.outbox', nonsense);
    assert.equal(server.make({ user: 'Ada', outbox }).outbox.size, 0);
  }
});

test('a token that expires is renewed, and a person who signs in as another takes nothing along', async () => {
  server = await Server.start('--token-leeway', '0');
  let fetched = 0;
  const ada = await server.client({
    async token() {
      fetched += 1;
      return server.token('Ada', '--expires', fetched === 1 ? '3s' : '1h');
    },
  });
  const room = await ada.join('r');
  assert.deepEqual([ada.user, ada.verified, fetched], ['Ada', true, 1]);
  // The connection goes on with the next token before the first one ends.
  const happened = listen(ada, 'signedIn', 'state');
  await until(() => happened('signedIn').length === 1, () => JSON.stringify(ada.state));
  assert.deepEqual([fetched, happened('state'), room.isLive], [2, [], true]);
  await ada.say(room, 'still here');
  // A connection that is lost for another reason needs no new token.
  await server.kill();
  await server.run();
  await until(() => ada.isOpen, 'not back');
  assert.equal(fetched, 2);
  ada.enter('@Ben');
  ada.signIn(server.token('Ben'));
  await until(() => ada.isOpen && ada.user === 'Ben', 'not signed in');
  assert.equal(ada.find('@Ben'), undefined);
  assert.ok(ada.find('r'));
});

test('a token that is never taken is asked for twice, and then rarely; a function that fails is no end either', async () => {
  server = await Server.start();
  let fetched = 0;
  const ada = server.make({ token: () => { fetched += 1; return 'nonsense'; } });
  ada.start();
  await until(() => ada.state.at === 'parked', () => JSON.stringify(ada.state));
  assert.equal(fetched, 3);
  assert.ok(ada.state.detail instanceof Refused && ada.state.detail.field === 'token');
  assert.ok(ada.state.until - performance.now() > 20_000);
  const ben = server.make({ token: () => Promise.reject(new Error('the backend is away')) });
  ben.start();
  await until(() => ben.state.at === 'parked', () => JSON.stringify(ben.state));
  assert.deepEqual([ben.state.why, ben.state.detail.message], ['no_token', 'the backend is away']);
  ben.signIn(undefined, 'Ben');
  await until(() => ben.isOpen && ben.user === 'Ben', 'not in');
});

// ---- what only a server that is made for it says

/** A server that answers as told: `answer(command, say)`. */
async function scripted(answer) {
  const sockets = [];
  const fake = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  fake.on('connection', (socket) => {
    sockets.push(socket);
    const say = (value) => socket.send(JSON.stringify(value));
    socket.on('message', (data) => answer(JSON.parse(data), say));
  });
  await new Promise((resolve) => { fake.on('listening', resolve); });
  const { WebSocket } = await import('ws');
  const client = new Client({ url: `ws://127.0.0.1:${fake.address().port}/`, WebSocket, user: 'Ada' });
  client.start();
  return { client, say: (value) => sockets.at(-1).send(JSON.stringify(value)), close() { client.stop(); fake.close(); sockets.forEach((one) => one.terminate()); } };
}

const message = (seq) => ({ seq, user: 'Ben', client: 'c2', text: `line ${seq}`, time: seq });

test('a history that goes on under another name is kept up to the fork, and read again behind it', async () => {
  const asked = [];
  let epoch = 'a';
  let kept = [1, 2, 3, 4, 5];
  let rev = 2;
  const fake = await scripted(({ type, id, since }, say) => {
    if (type === 'hello') say({ type: 'welcome', id, client: 'c1', user: 'Ada', verified: false, heartbeat_ms: 25_000, limits: {} });
    if (type !== 'join') return;
    asked.push(since);
    const isKnown = since?.epoch === epoch;
    const messages = kept.filter((seq) => !isKnown || seq > since.seq).map(message);
    say({ type: 'joined', id, room: 'r', epoch, seq: kept.at(-1), rev, recovered: isKnown, messages, changes: [], members: [], count: 0, read: 0 });
  });
  const room = await fake.client.join('r');
  assert.equal(texts(room).length, 5);
  // What is here is a part of it: nothing is asked.
  epoch = 'b';
  fake.say({ type: 'epoch', room: 'r', epoch, seq: 5, rev: 2 });
  await until(() => room.epoch === 'b', 'not told');
  assert.deepEqual([texts(room).length, asked.length, room.isLive, room.since], [5, 1, true, { epoch: 'b', seq: 5, rev: 2 }]);
  fake.say({ type: 'message', room: 'r', prev: 5, ...message(6) });
  await until(() => room.seq === 6, 'not live');
  // There is more here than the history has.
  [epoch, kept] = ['c', [1, 2, 3, 4, 7].map((seq) => Math.min(seq, 5))];
  fake.say({ type: 'epoch', room: 'r', epoch, seq: 4, rev: 2 });
  await until(() => asked.length === 2 && room.isLive, 'not joined again');
  assert.deepEqual([asked[1], texts(room), room.seq], [{ epoch: 'c', seq: 4, rev: 2 }, [1, 2, 3, 4, 5].map((seq) => `line ${seq}`), 5]);
  // A change that is history no more cannot be taken back: all is read again.
  [epoch, rev] = ['d', 1];
  fake.say({ type: 'epoch', room: 'r', epoch, seq: 5, rev: 1 });
  await until(() => asked.length === 3 && room.isLive, 'not joined again');
  assert.deepEqual([asked[2], room.rev, texts(room).length], [undefined, 1, 5]);
  fake.close();
});

test('a server that says nonsense spoils nothing', async () => {
  const fake = await scripted(({ type, id }, say) => {
    if (type === 'hello') say({ type: 'welcome', id, user: 7, limits: [], heartbeat_ms: 'x', features: 'all', permissions: [1] });
    if (type === 'join') say({ type: 'joined', id, room: 'r', epoch: 'e', seq: 2, rev: -1, messages: [message(2), null, message(1), { seq: 'x' }], changes: 'none', members: [{}, 3], count: 1e99 });
  });
  const room = await fake.client.join('r');
  assert.deepEqual([texts(room), room.count, room.members.size, fake.client.user], [['line 1', 'line 2'], 0, 0, '']);
  for (const nonsense of [{}, { type: 'message' }, { type: 'message', room: 'r', seq: -1 }, { type: 'edited', room: 'r', seq: {}, rev: 'x' }, { type: 'direct', to: 3 },
    { type: 'presence', room: 'r', joined: 1 }, { type: 'reads', room: 'r', reads: [{}] }, { type: 'nothing', room: 'r' }]) fake.say(nonsense);
  fake.say({ type: 'message', room: 'r', prev: 2, ...message(3) });
  await until(() => texts(room).length === 3, 'not heard');
  fake.close();
});

test('a refusal that is late says nothing of the connection after it', async () => {
  let hellos = 0;
  const fake = await scripted(({ type, id, user }, say) => {
    if (type !== 'hello') return;
    hellos += 1;
    if (hellos === 1) {
      say({ type: 'error', id, code: 'banned', message: 'banned' });
      say({ type: 'bye', reason: 'banned', message: 'banned' });
    } else {
      // Slower than the client waits for a `bye` behind a refusal.
      setTimeout(() => say({ type: 'welcome', id, client: 'c1', user, verified: false, heartbeat_ms: 25_000, limits: {} }), 500);
    }
  });
  const seen = [];
  fake.client.on('state', () => seen.push(fake.client.state.why ?? fake.client.state.at));
  await until(() => seen.includes('banned'), () => seen.join());
  fake.client.rename('Grace');
  await until(() => fake.client.isOpen, () => seen.join());
  assert.ok(!seen.includes('refused'), seen.join());
  assert.equal(hellos, 2);
  fake.close();
});

test('a server that cannot tell yet who may come in is asked again', async () => {
  let hellos = 0;
  const fake = await scripted(({ type, id, user }, say) => {
    if (type !== 'hello') return;
    hellos += 1;
    if (hellos < 3) say({ type: 'error', id, code: hellos === 1 ? 'unavailable' : 'rate_limited', message: 'later', retry_after_ms: 100 });
    else say({ type: 'welcome', id, client: 'c1', user, verified: false, heartbeat_ms: 25_000, limits: {} });
  });
  const seen = [];
  fake.client.on('state', () => seen.push(`${fake.client.state.at} ${fake.client.state.why ?? ''}`));
  await until(() => fake.client.isOpen, () => seen.join());
  assert.ok(seen.includes('waiting unavailable') && seen.includes('waiting rate_limited'), seen.join());
  assert.ok(!seen.some((state) => state.startsWith('parked')), seen.join());
  fake.close();
});
