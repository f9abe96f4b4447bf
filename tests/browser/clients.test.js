// The chat with a client that is neither ours nor a browser: `ws`, which offers compression.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { freePort, Server, until } from './harness.js';

const PEOPLE = 8, POSTS = 100;
let server, directory;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'clients-'));
  const port = await freePort();
  const data = join(directory, 'data');
  server = new Server(process.env.SWITCHBOARD_BIN,
    ['serve', '--listen', `127.0.0.1:${port}`, '--data', data, '--deflate', '--posts-per-second', '0'], port);
  await server.start();
});

after(async () => {
  await server?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Somebody in the room `general`; `since` is where they were before. */
async function member(user, since) {
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/ws`, ['chat.v1.json']);
  const got = [];
  socket.on('message', (data) => got.push(JSON.parse(data)));
  await once(socket, 'open');
  assert.equal(socket.protocol, 'chat.v1.json');
  assert.match(socket.extensions, /permessage-deflate/);
  const say = (command) => socket.send(JSON.stringify(command));
  const of = (type) => got.filter((notice) => notice.type === type);
  say({ type: 'hello', user });
  say({ type: 'join', room: 'general', since });
  await until(() => of('joined').length > 0, () => `${user} is not in the room: ${JSON.stringify(got)}`);
  return { socket, say, of, joined: of('joined')[0] };
}

test('CH-11, PR-03: everybody sees one order, and after SIGKILL and a restart at once all of what was acked', async () => {
  const people = await Promise.all(Array.from({ length: PEOPLE }, (_, n) => member(`user ${n}`)));
  for (let post = 0; post < POSTS; post += 1) {
    people.forEach(({ say }, n) => say({ type: 'post', id: post, room: 'general', key: `${n}-${post}`, text: `${n} ${post} `.repeat(20) }));
    await new Promise(setImmediate);
  }
  const all = PEOPLE * POSTS;
  await until(() => people.every(({ of }) => of('ack').length === POSTS && of('message').length === all),
    () => `acks and messages: ${people.map(({ of }) => [of('ack').length, of('message').length])}`);
  const texts = people.map(({ of }) => of('message').map(({ seq, text }) => `${seq} ${text}`));
  for (const seen of texts) assert.deepEqual(seen, texts[0]);
  assert.deepEqual(people[0].of('message').map(({ seq }) => seq), Array.from({ length: all }, (_, at) => at + 1));
  assert.ok(people.every(({ of }) => of('ack').every(({ durable }) => durable === 'disk')));

  await server.kill();
  await server.start();
  const { epoch } = people[0].joined;
  const back = await member('user 0', { epoch, seq: all - 50, rev: 0 });
  assert.deepEqual([back.joined.recovered, back.joined.seq, back.joined.messages.length], [true, all, 50]);
  assert.deepEqual(back.joined.messages.map(({ seq, text }) => `${seq} ${text}`), texts[0].slice(-50));
  back.say({ type: 'post', id: 'again', room: 'general', key: '0-0', text: 'posted twice' });
  await until(() => back.of('ack').length > 0, () => 'no answer');
  assert.equal(back.of('ack')[0].duplicate, true);
  back.socket.close();
  await once(back.socket, 'close');
});
