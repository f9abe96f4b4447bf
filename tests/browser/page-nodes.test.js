// Two tabs on two servers that share an engine: the people in them do not notice, whatever is killed.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { Chat, field, isConnected, noComplaints, say, sees } from './driver.js';
import { freePort, launchBrowser, Server } from './harness.js';

let browser;
let engine;
let directory;
let chats = [];

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(async () => {
  for (const chat of chats) await chat.stop();
  await engine?.kill();
  rmSync(directory, { recursive: true, force: true });
});

/** An engine that answers when its disk has it, and so many servers on it. */
async function start(count) {
  directory = mkdtempSync(join(tmpdir(), 'switchboard-engine-'));
  const port = await freePort();
  engine = new Server(process.env.REDIS, ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', directory,
    '--save', '', '--appendonly', 'yes', '--appendfsync', 'always'], port);
  await engine.start();
  chats = [];
  for (let number = 0; number < count; number += 1) {
    chats.push(await Chat.start(browser, { engine: `redis://127.0.0.1:${port}/0`, args: ['--engine-timeout', '500ms'] }));
  }
}

/** Whether the dot beside a person says that they are there. */
const isThere = (page, name) => page.locator('#people li', { hasText: name }).waitFor({ timeout: 30_000 });
const isWaiting = (page, text) => page.locator('#outbox > *', { hasText: text }).locator('.waiting').waitFor({ timeout: 10_000 });

test('the engine is killed and comes back: nothing is lost, and everybody is there', async () => {
  await start(2);
  const ada = await chats[0].guest('Ada');
  const ben = await chats[1].guest('Ben');
  await say(ada, 'one');
  await sees(ben, 'one');
  await say(ben, 'two');
  await sees(ada, 'one', 'two');
  await isThere(ada, 'Ben');
  await isThere(ben, 'Ada');
  await engine.kill();
  await say(ada, 'three');
  await isWaiting(ada, 'three');
  // Connected to the server they are, and may write on.
  assert.ok(await field(ada).isEnabled());
  await engine.start();
  await sees(ada, 'one', 'two', 'three');
  await sees(ben, 'one', 'two', 'three');
  await say(ben, 'four');
  await sees(ada, 'one', 'two', 'three', 'four');
  await isConnected(ada);
  await isConnected(ben);
  await isThere(ada, 'Ben');
  await isThere(ben, 'Ada');
  noComplaints(ada, ben);
});

test('a server is killed and comes back: its people have what was said meanwhile', async () => {
  await start(2);
  const ada = await chats[0].guest('Ada');
  const ben = await chats[1].guest('Ben');
  await say(ada, 'one');
  await sees(ben, 'one');
  await chats[0].server.kill();
  await ada.locator('#status[data-state=closed]').waitFor({ timeout: 15_000 });
  await say(ada, 'written offline');
  await say(ben, 'meanwhile');
  await sees(ben, 'one', 'meanwhile');
  // Nobody is there for longer than their lease.
  await ben.locator('#people li', { hasText: 'Ada' }).waitFor({ state: 'detached', timeout: 30_000 });
  await chats[0].server.start();
  await isConnected(ada);
  await sees(ada, 'one', 'meanwhile', 'written offline');
  await sees(ben, 'one', 'meanwhile', 'written offline');
  await isThere(ben, 'Ada');
});
