// A thousand random operations of several people, while the server is killed and the network is cut: in the end what each client
// shows is what the server has.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Disconnected, Refused } from '../src/index.js';
import { Network, Server, until } from './support.js';

const OPERATIONS = 1_000;
const PAST = 250;
const ROOMS = ['alpha', 'beta', 'gamma'];
const EMOJIS = ['👍', '🎉', '😀'];
const seed = Number(process.env.MODEL_SEED ?? Math.floor(Math.random() * 1e9));

/** mulberry32: the same numbers for the same seed. */
function randomOf(start) {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a person sees of a message. The reactions of a deleted one are shown by nobody. */
const seen = ({ seq, user, text, time, edited, deleted, reactions }) => ({
  seq, user, text, time, edited, deleted,
  reactions: deleted ? [] : [...reactions].map(([emoji, users]) => `${emoji} ${users.map((one) => one.user).sort()}`).sort(),
});

test(`what clients show is what the server has, after ${OPERATIONS} operations (MODEL_SEED=${seed})`, { timeout: 240_000 }, async () => {
  const random = randomOf(seed);
  const below = (n) => Math.floor(random() * n);
  const any = (list) => list[below(list.length)];
  const server = await Server.start();
  const network = await Network.before(server.port);
  // There is a past that nobody has seen.
  const first = await server.client({ user: 'First' });
  for (const name of ROOMS) {
    const room = await first.join(name);
    for (let i = 0; i < PAST; i += 1) first.post(room, `${name} ${i}`);
  }
  await until(() => first.outbox.size === 0, 'no past', 60_000);
  first.stop();
  const people = [];
  for (const user of ['Ada', 'Ben', 'Cleo', 'Dora']) {
    people.push(await server.client({ user, url: network.url, rooms: ROOMS }));
  }
  const said = new Set();
  const failures = [];
  const taken = (what) => what.catch((error) => {
    // Whatever comes, it is one of the two.
    if (!(error instanceof Refused || error instanceof Disconnected)) failures.push(error);
  });
  let count = 0;
  for (let i = 0; i < OPERATIONS; i += 1) {
    const client = any(people);
    const room = client.find(any(ROOMS));
    const message = room && any(room.messages);
    const own = room?.messages.filter((one) => client.isOwn(one) && !one.deleted) ?? [];
    const dice = below(100);
    if (!room) {
      for (const name of ROOMS) client.enter(name);
    } else if (dice < 45) {
      count += 1;
      said.add(`${count}`);
      client.post(room, `${count}`);
    } else if (dice < 58 && own.length > 0) taken(client.edit(room, any(own).seq, `edited ${i}`));
    else if (dice < 64 && own.length > 0) taken(client.delete(room, any(own).seq));
    else if (dice < 76 && message) taken(client.react(room, message.seq, any(EMOJIS), random() < 0.3));
    else if (dice < 80) taken(client.older(room));
    else if (dice < 84) taken(client.goTo(room, 1 + below(room.seq + 1)));
    else if (dice < 88 && room.past) taken(client.newer(room));
    else if (dice < 89) room.goLive();
    else if (dice < 90) client.seen(room);
    else if (dice < 91) client.leave(room);
    else if (dice < 93) client.retry();
    else if (dice < 94) network.cut();
    else if (dice < 95) {
      await server.kill();
      await sleep(below(200));
      await server.run();
    } else await sleep(below(30));
    // Mostly people see what comes of it, sometimes they go on regardless.
    if (below(4) > 0) await until(() => people.every(({ isOpen, waitingMs }) => isOpen && waitingMs === 0), 'not back', 60_000);
  }
  for (const client of people) for (const name of ROOMS) client.enter(name);
  await until(() => people.every((client) => client.isOpen && client.outbox.size === 0 && ROOMS.every((name) => client.find(name)?.isLive)), 'not at rest', 60_000);

  // Somebody who has seen nothing of it reads what the server has.
  const reader = await server.client({ user: 'Reader' });
  const truth = new Map();
  for (const name of ROOMS) {
    const room = await reader.join(name);
    while (room.live.hasOlder) await reader.older(room);
    truth.set(name, room);
  }
  const atRest = () => people.every((client) => ROOMS.every((name) => {
    const [room, whole] = [client.find(name), truth.get(name)];
    return room.seq === whole.seq && room.rev === whole.rev && room.isLive;
  }));
  await until(atRest, () => people.map((client) => ROOMS.map((name) => `${client.find(name).seq}/${truth.get(name).seq}`)).join(' '), 30_000);
  assert.deepEqual(failures, []);
  for (const client of people) {
    for (const name of ROOMS) {
      const [room, whole] = [client.find(name), truth.get(name)];
      assert.deepEqual([room.seq, room.rev], [whole.seq, whole.rev]);
      room.goLive();
      const shown = room.messages;
      assert.deepEqual(shown.map(({ seq }) => seq), shown.map((_, i) => shown[0].seq + i), `${client.user} has a gap in ${name}`);
      assert.equal(shown.at(-1)?.seq ?? 0, whole.seq);
      assert.deepEqual(shown.map(seen), whole.messages.slice(whole.live.indexOf(shown[0]?.seq ?? Infinity)).map(seen), `${client.user} in ${name}`);
      // And what they read back is the same.
      while (room.live.hasOlder) await client.older(room);
      assert.deepEqual(room.messages.map(seen), whole.messages.map(seen));
    }
  }
  // Every post is there once; those that were edited or deleted since say so.
  const all = ROOMS.flatMap((name) => truth.get(name).messages);
  assert.equal(all.length, count + ROOMS.length * PAST);
  const texts = all.filter(({ edited, deleted }) => edited === undefined && !deleted).map(({ text }) => text);
  assert.equal(new Set(texts).size, texts.length);
  for (const text of texts) assert.ok(said.has(text) || /^[a-z]+ \d+$/.test(text), text);
  network.close();
  await server.stop();
});
