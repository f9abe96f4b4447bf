// The chat page in hand: a server, tabs of different people, and what one does and sees there.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { complaintsOf, environment, freePort, Server, until } from './harness.js';

export const WIDE = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
const BINARY = process.env.SWITCHBOARD_BIN;
const API_TOKEN = 'the-token-of-the-operator-0123456789';

/** Runs a command of the server to its end; returns what it printed, and shows what it said if it failed. */
function run(args, input = '') {
  const { status, stdout, stderr } = spawnSync(BINARY, args, { env: environment, input, encoding: 'utf8' });
  assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** A server of the chat, and the tabs that are open on it. */
export class Chat {
  #browser;
  #contexts = [];
  #sockets = [];
  directory = mkdtempSync(join(tmpdir(), 'switchboard-'));

  static async start(browser, { args = [], isKept = false, lines = [], engine = null } = {}) {
    const chat = new Chat();
    chat.#browser = browser;
    chat.port = await freePort();
    chat.url = `http://127.0.0.1:${chat.port}/`;
    writeFileSync(join(chat.directory, 'key'), 'a secret of more than thirty-two bytes', { mode: 0o600 });
    writeFileSync(join(chat.directory, 'api'), `${API_TOKEN}\n`, { mode: 0o600 });
    const data = join(chat.directory, 'data');
    if (lines.length > 0) run(['import', '--data', data], lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const kept = isKept || lines.length > 0 ? ['--data', data] : ['--ephemeral'];
    const history = engine === null ? kept : ['--engine', engine];
    chat.server = new Server(BINARY, ['serve', '--listen', `127.0.0.1:${chat.port}`, ...history,
      '--token-key', join(chat.directory, 'key'), '--api-token-file', join(chat.directory, 'api'), ...args], chat.port);
    await chat.server.start();
    return chat;
  }

  async stop() {
    for (const socket of this.#sockets) socket.terminate();
    for (const context of this.#contexts) await context.close();
    await this.server.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  token(user, ...args) {
    return run(['token', 'mint', '--key', join(this.directory, 'key'), '--user', user, ...args]).trim();
  }

  async context(options = {}) {
    const context = await this.#browser.newContext({ viewport: WIDE, ...options });
    this.#contexts.push(context);
    return context;
  }

  /** A tab with storage of its own, at a place behind the page's address. */
  async open(place = '', { url = this.url, before = () => {}, isOpen = true, ...options } = {}) {
    const page = await (await this.context(options)).newPage();
    page.complaints = complaintsOf(page);
    await before(page);
    await page.goto(url + place);
    if (isOpen) await isConnected(page);
    return page;
  }

  /** A tab of a guest of this name. */
  async guest(name, options = {}) {
    const remember = (page) => page.addInitScript((user) => localStorage.setItem('switchboard.user', user), name);
    const page = await this.open(options.place ?? '', { ...options, before: remember });
    await page.locator(`#text[placeholder=${JSON.stringify(`Message as ${name}`)}]`).waitFor();
    return page;
  }

  /** A tab of somebody who is signed in. */
  async signedIn(name, options = {}) {
    const page = await this.open(`?token=${this.token(name)}${options.place ?? ''}`, options);
    await page.locator(`#text[placeholder=${JSON.stringify(`Message as ${name}`)}]`).waitFor();
    return page;
  }

  /** A client without a page: `say(command)` returns the answer. */
  async client(hello) {
    const socket = new WebSocket(`ws://127.0.0.1:${this.port}/ws`, 'chat.v1.json');
    this.#sockets.push(socket);
    await once(socket, 'open');
    let id = 0;
    const waiting = new Map();
    socket.on('message', (data) => {
      const value = JSON.parse(data);
      waiting.get(value.id)?.(value);
    });
    const say = (command) => new Promise((resolve) => {
      id += 1;
      waiting.set(id, resolve);
      socket.send(JSON.stringify({ ...command, id }));
    });
    const welcome = await say({ type: 'hello', ...hello });
    assert.equal(welcome.type, 'welcome');
    return { say, end: () => socket.terminate() };
  }

  async api(method, path, body) {
    const answer = await fetch(`${this.url}api/v1${path}`, {
      method, body: JSON.stringify(body), headers: { authorization: `Bearer ${API_TOKEN}`, 'content-type': 'application/json' },
    });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  }
}

/** What stands between two ends and can fall silent, as a network does: nobody is told, and what was under way stays dead. */
export class Network {
  #isSilent = false;
  #pairs = new Set();

  static async before(port) {
    const network = new Network();
    network.server = createServer((near) => network.#join(near, port)).listen(0, '127.0.0.1');
    await once(network.server, 'listening');
    network.url = `http://127.0.0.1:${network.server.address().port}/`;
    return network;
  }

  #join(near, port) {
    const far = connect(port, '127.0.0.1');
    const pair = { sockets: [near, far], isDead: this.#isSilent };
    this.#pairs.add(pair);
    const pass = (from, to) => {
      from.on('data', (data) => pair.isDead || to.write(data));
      from.on('close', () => pair.isDead || to.destroy());
      from.on('error', () => {});
    };
    pass(near, far);
    pass(far, near);
  }

  fallSilent() {
    this.#isSilent = true;
    for (const pair of this.#pairs) pair.isDead = true;
  }

  /** New connections work again. */
  comeBack() {
    this.#isSilent = false;
  }

  close() {
    this.server.close();
    for (const { sockets } of this.#pairs) for (const socket of sockets) socket.destroy();
  }
}

export const isConnected = (page) => page.locator('#status[data-state=open]').waitFor({ timeout: 30_000 });
export const bodies = (page) => page.locator('#messages .body').allTextContents();
export const field = (page) => page.getByLabel('Message', { exact: true });
export const message = (page, text) => page.locator('#messages .message', { hasText: text });
export const roomNames = (page) => page.locator('#rooms .room-name').allTextContents();
export const noComplaints = (...pages) => assert.deepEqual(pages.flatMap((page) => page.complaints), []);

export async function say(page, text) {
  await field(page).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

export async function sees(page, ...texts) {
  await shows(page, () => bodies(page), texts);
}

export async function shows(page, read, expected) {
  let seen;
  await until(async () => {
    seen = await read();
    return JSON.stringify(seen) === JSON.stringify(expected);
  }, () => `expected ${JSON.stringify(expected)}, the page shows ${JSON.stringify(seen)}`, 20_000);
}

export async function enter(page, room) {
  await page.getByLabel('Room to join').fill(room);
  await page.getByRole('button', { name: 'Join', exact: true }).click();
}

export async function titled(page, title) {
  await page.getByRole('heading', { name: title, exact: true }).waitFor();
}

export async function openMenu(page, text) {
  const item = message(page, text);
  await item.hover();
  await item.locator('summary').click();
  return page.locator('.menu');
}

/** Waits until the log has stood still for some frames. */
export const isAtRest = (page) => page.locator('#log').evaluate(standsStill);

/** Runs in a page, with its log. */
export async function standsStill(log) {
  const at = () => `${log.scrollTop} ${log.scrollHeight}`;
  let [before, frames] = [at(), 0];
  while (frames < 3) {
    await new Promise(requestAnimationFrame);
    frames = at() === before ? frames + 1 : 0;
    before = at();
  }
}

/** Lines for `import`, the oldest first. */
export function lines(room, count, text = (i) => `line ${i}`) {
  const start = Date.now() - count * 1000;
  return Array.from({ length: count }, (_, i) => ({
    room, seq: i + 1, time: start + i * 1000, user: i % 2 ? 'Ada' : 'Ben', client: 'c1', text: text(i + 1),
  }));
}

/** The first message in view, and where it is. */
export const eye = (page) => page.locator('#log').evaluate((log) => {
  const edge = log.getBoundingClientRect().top;
  const item = [...document.querySelectorAll('#messages .message')].find((one) => one.getBoundingClientRect().bottom > edge + 1);
  return { text: item.querySelector('.body').textContent, top: item.getBoundingClientRect().top - edge };
});

/** The reader has not been moved; less than a pixel is how a browser rounds. */
export async function stays(page, before) {
  const after = await eye(page);
  assert.equal(after.text, before.text);
  assert.ok(Math.abs(after.top - before.top) < 1, `${after.text} moved from ${before.top} to ${after.top}`);
}
