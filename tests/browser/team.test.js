// The sample product (examples/team) from sign-in to ban: its own users, page and rules, with the hooks and the API of the chat.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { complaintsOf, freePort, launchBrowser, Server, until } from './harness.js';

const example = fileURLToPath(new URL('../../examples/team', import.meta.url));
const data = mkdtempSync(join(tmpdir(), 'switchboard-team-'));

let browser;
let product;
let origin;

before(async () => {
  const { status, stderr } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: example, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  browser = await launchBrowser();
  const [port, chatPort] = [await freePort(), await freePort()];
  origin = `http://127.0.0.1:${port}`;
  const variables = { SWITCHBOARD_BIN: process.env.SWITCHBOARD_BIN, PORT: `${port}`, CHAT_PORT: `${chatPort}`, TEAM_DATA: data };
  product = new Server(process.execPath, [join(example, 'start.js')], chatPort, variables);
  await product.start();
});
after(async () => {
  await browser?.close();
  await product?.stop('SIGTERM');
  rmSync(data, { recursive: true, force: true });
});

async function open() {
  const page = await (await browser.newContext()).newPage();
  page.complaints = complaintsOf(page);
  await page.goto(origin);
  return page;
}

async function signIn(page, login, password = `${login}-password`) {
  await page.getByLabel('Name').fill(login);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

async function say(page, text) {
  await page.getByLabel('Message').fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

const line = (page, text) => page.locator('#messages li', { hasText: text }).waitFor();
const told = (page, text) => page.locator('#notice', { hasText: text }).waitFor();
const enter = (page, room) => page.getByRole('button', { name: room, exact: true }).click();

test('people sign in, talk by the rules of the product, and one is banned', async () => {
  const [ada, bob, eve] = [await open(), await open(), await open()];
  await signIn(ada, 'ada', 'wrong');
  await told(ada, 'do not go together');
  for (const [page, login] of [[ada, 'ada'], [bob, 'bob'], [eve, 'eve']]) {
    await signIn(page, login);
    await page.locator('#rooms [aria-current]').waitFor();
  }
  await say(bob, 'hello everybody');
  for (const page of [ada, bob, eve]) await line(page, 'Bob');
  // What is said is asked about: softened, or refused with a reason, and nobody else sees it.
  await say(bob, 'darn it');
  await line(eve, '**** it');
  await say(bob, 'buy spam');
  await told(bob, 'No advertising here.');
  // A room of another team.
  await enter(eve, 'team-red');
  await told(eve, 'This room is for its team.');
  await enter(bob, 'team-red');
  await bob.locator('#rooms [aria-current]', { hasText: 'team-red' }).waitFor();
  await enter(bob, 'lobby');

  // What happened was told to the product.
  const seen = () => ada.locator('#audit li').allTextContents();
  await until(async () => (await seen()).filter((text) => text.startsWith('posted lobby')).length === 2, () => 'not told', 30_000);
  assert.ok(!(await seen()).some((text) => text.includes('buy')));
  // A moderator bans: the account is suspended, and the connection ends.
  await ada.getByRole('button', { name: 'Ban Bob' }).click();
  await told(bob, 'You have been banned');
  await until(async () => (await seen()).some((text) => text.startsWith('banned')), () => 'not told of the ban', 30_000);
  await bob.reload();
  await signIn(bob, 'bob');
  await told(bob, 'suspended');
  await say(ada, 'peace');
  await line(eve, 'peace');
  // The refused sign-ins are what the browser complains of, and nothing else.
  const complaints = [ada, bob, eve].flatMap((page) => page.complaints).filter((text) => !/status of (401|403)/.test(text));
  assert.deepEqual(complaints, []);
});

test('what is not signed, and what only moderators may do, is refused', async () => {
  const unsigned = await fetch(`${origin}/hooks`, { method: 'POST', body: '{"ask":"post"}', headers: { 'switchboard-hook': 'ask' } });
  assert.equal(unsigned.status, 401);
  const { headers } = await fetch(`${origin}/sign-in`, { method: 'POST', body: '{"login":"eve","password":"eve-password"}' });
  const cookie = headers.get('set-cookie').split(';')[0];
  for (const [method, way] of [['GET', 'audit'], ['POST', 'ban']]) {
    const answer = await fetch(`${origin}/${way}`, { method, headers: { cookie }, body: method === 'POST' ? '{}' : undefined });
    assert.equal(answer.status, 403, way);
  }
  assert.equal((await fetch(`${origin}/audit`)).status, 401);
  assert.equal((await fetch(`${origin}/page/../users.js`)).status, 404);
});
