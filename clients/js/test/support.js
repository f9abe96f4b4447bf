// What the tests stand on: the real server as a child process, a network that can fall silent, and clients of it.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Client } from '../src/index.js';

const BINARY = process.env.SWITCHBOARD_BIN;
assert.ok(BINARY, 'SWITCHBOARD_BIN must name the built server');
const START_LIMIT_MS = 20_000;
const SOON_MS = 20_000;
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SWITCHBOARD_')));

// A broken-off run leaves no server behind.
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export async function until(condition, what, limitMs = SOON_MS) {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) assert.fail(typeof what === 'function' ? what() : what);
    await sleep(10);
  }
}

/** A server that keeps its history on the disk, and clients of it. */
export class Server {
  directory = mkdtempSync(join(tmpdir(), 'switchboard-js-'));
  #child = null;
  #clients = [];

  static async start(...args) {
    const server = new Server();
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    server.port = probe.address().port;
    probe.close();
    server.args = args;
    writeFileSync(join(server.directory, 'key'), 'a secret of more than thirty-two bytes', { mode: 0o600 });
    await server.run();
    return server;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  async run() {
    const args = ['serve', '--listen', `127.0.0.1:${this.port}`, '--data', join(this.directory, 'data'), '--token-key', join(this.directory, 'key'),
      '--posts-per-second', '0', ...this.args];
    const child = spawn(BINARY, args, { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text) => { said += text; });
    running.add(child.on('exit', () => running.delete(child)));
    await until(async () => {
      assert.equal(child.exitCode, null, said);
      return accepts(this.port);
    }, () => `the server does not listen: ${said}`, START_LIMIT_MS);
  }

  /** Ends it as a power failure would. */
  async kill() {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  async stop() {
    for (const client of this.#clients) client.stop();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM');
      await once(this.#child, 'exit');
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  token(user, ...args) {
    const { status, stdout, stderr } = spawnSync(BINARY, ['token', 'mint', '--key', join(this.directory, 'key'), '--user', user, ...args],
      { env: environment, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return stdout.trim();
  }

  /** A client that has not begun. */
  make(options) {
    const client = new Client({ url: this.url, WebSocket, ...options });
    this.#clients.push(client);
    return client;
  }

  /** A client that is connected. */
  async client(options) {
    const client = this.make(options);
    client.start();
    await until(() => client.isOpen, () => `not connected: ${JSON.stringify(client.state)}`);
    return client;
  }
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false)).on('connect', () => socket.destroy());
  });
}

/** What stands between two ends and can fall silent, as a network does: nobody is told, and what was under way stays dead. */
export class Network {
  #isSilent = false;
  #pairs = new Set();

  static async before(port) {
    const network = new Network();
    network.server = createServer((near) => network.#join(near, port)).listen(0, '127.0.0.1');
    await once(network.server, 'listening');
    network.url = `ws://127.0.0.1:${network.server.address().port}/ws`;
    return network;
  }

  #join(near, port) {
    const far = connect(port, '127.0.0.1');
    const pair = { sockets: [near, far], isDead: this.#isSilent };
    this.#pairs.add(pair);
    const pass = (from, to) => {
      from.on('data', (data) => pair.isDead || to.write(data));
      from.on('close', () => {
        this.#pairs.delete(pair);
        if (!pair.isDead) to.destroy();
      });
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

  /** All connections end at once. */
  cut() {
    for (const { sockets } of this.#pairs) for (const socket of sockets) socket.destroy();
  }

  close() {
    this.server.close();
    this.cut();
  }
}

export const texts = (room) => room.messages.map(({ text }) => text);

/** Collects what happens: `happened(event)` is the list of what came with it. */
export function listen(client, ...events) {
  const all = new Map(events.map((event) => [event, []]));
  for (const event of events) client.on(event, (...values) => all.get(event).push(values));
  return (event) => all.get(event);
}
