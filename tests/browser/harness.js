// What the browser tests stand on: one headless Chromium, servers as child processes, a static file server.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { basename, extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const START_LIMIT_MS = 10_000;
const STOP_LIMIT_MS = 15_000;

// A broken-off run leaves no server behind.
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));
process.once('SIGTERM', () => process.exit(1));

/** What programs under test get: nothing that is meant for the tests, and no settings of the user who runs them. */
export const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SWITCHBOARD_')));

export const screenshots = process.env.SWITCHBOARD_SCREENSHOTS;

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

export async function freePort() {
  const probe = createTcpServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

/** A server under test: `start` waits until it accepts connections, `stop` ends it as Ctrl+C does. */
export class Server {
  #child = null;
  output = '';

  /** `variables` are added to those of the environment. */
  constructor(command, args, port, variables = {}) {
    Object.assign(this, { command, args, port, variables });
  }

  async start() {
    await this.#portIsFree();
    const child = spawn(this.command, this.args, { env: { ...environment, ...this.variables }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.output = '';
    running.add(child.on('exit', () => running.delete(child)));
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { this.output += text; });
    }
    child.on('error', (error) => { this.output += String(error); });
    const deadline = Date.now() + START_LIMIT_MS;
    while (!(await accepts(this.port))) {
      if (child.exitCode !== null || child.pid === undefined || Date.now() > deadline) {
        assert.fail(`${this.command} does not listen on port ${this.port}; it said:\n${this.output}`);
      }
      await sleep(20);
    }
  }

  /** Sends the signal and returns the exit status; a server that has to be killed, or just dies of it, fails the test. */
  async stop(signal = 'SIGINT') {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return undefined;
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
    child.kill(signal);
    const [status, killer] = await once(child, 'exit');
    clearTimeout(late);
    assert.notEqual(killer, 'SIGKILL', `${this.command} was still running ${STOP_LIMIT_MS} ms after ${signal}`);
    assert.equal(killer, null, `${this.command} does not handle ${signal}: no connection was closed as S39 says`);
    return status;
  }

  /** Ends it as a power failure would. */
  async kill() {
    const child = this.#child;
    this.#child = null;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  get isRunning() {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(name) {
    this.#child.kill(name);
  }

  async printed(text) {
    await until(() => this.output.includes(text), () => `no ${JSON.stringify(text)} in the output:\n${this.output}`);
  }

  async #portIsFree() {
    assert.ok(!(await accepts(this.port)), `port ${this.port} is taken by another process; end it first`);
  }
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

export async function until(condition, explain, limitMs = 10_000) {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(explain());
    await sleep(25);
  }
}

/** Serves the files of one directory on a free port of `host`; returns its origin and a way to close it. */
export async function serveFiles(directory, host = '127.0.0.1') {
  const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript' };
  const server = createServer(async ({ url }, response) => {
    const name = basename(new URL(url, 'http://host').pathname);
    try {
      const body = await readFile(join(directory, name));
      response.writeHead(200, { 'content-type': types[extname(name)] ?? 'application/octet-stream' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  server.listen(0, host);
  await once(server, 'listening');
  return { origin: `http://${host}:${server.address().port}`, close: () => server.close() };
}

/** Everything a page complains about: errors on its console (a broken Content-Security-Policy among them) and uncaught ones. */
export function complaintsOf(page) {
  const complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  return complaints;
}
