// The chat over https:// and wss://: in Chromium, with the WebSocket of Node.js, with Java's client and with curl.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import WebSocket from 'ws';
import { environment, freePort, launchBrowser, Server } from './harness.js';

const run = promisify(execFile);
const TOKEN = 'the-token-of-the-operator-0123456789';
const binary = process.env.SWITCHBOARD_BIN;
const { CURL = '/usr/bin/curl', JAVA = '/usr/bin/java' } = process.env;
let browser, directory, port, server, certificate;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'switchboard-tls-'));
  execFileSync(binary, ['tls', 'make-cert'], { cwd: directory });
  certificate = readFileSync(join(directory, 'cert.pem'));
  writeFileSync(join(directory, 'api'), `${TOKEN}\n`, { mode: 0o600 });
  port = await freePort();
  server = new Server(binary, ['--ephemeral', '--api-token-file', join(directory, 'api'), '--tls-listen', `127.0.0.1:${port}`,
    '--tls-cert', join(directory, 'cert.pem'), '--tls-key', join(directory, 'key.pem')], port);
  await server.start();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(directory, { recursive: true });
});

test('two people talk on a page that came over https', { timeout: 60_000 }, async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const [ada, bob] = [await context.newPage(), await context.newPage()];
  const sockets = [];
  ada.on('websocket', (socket) => sockets.push(socket.url()));
  for (const [page, name] of [[ada, 'Ada'], [bob, 'Bob']]) {
    await page.goto(`https://localhost:${port}/`);
    await page.evaluate(() => { localStorage.clear(); });
    await page.reload();
    await page.evaluate(async ([user, port]) => {
      const socket = new WebSocket(`wss://localhost:${port}/`, 'chat.v1.json');
      const seen = [];
      window.seen = seen;
      window.socket = socket;
      socket.onmessage = ({ data }) => seen.push(JSON.parse(data));
      await new Promise((open, fail) => { socket.onopen = open; socket.onerror = fail; });
      socket.send(JSON.stringify({ type: 'hello', user }));
      socket.send(JSON.stringify({ type: 'join', room: 'secret' }));
    }, [name, port]);
  }
  await ada.waitForFunction(() => window.seen.some(({ type }) => type === 'joined'));
  await bob.waitForFunction(() => window.seen.some(({ type }) => type === 'joined'));
  await ada.evaluate(() => window.socket.send(JSON.stringify({ type: 'post', room: 'secret', text: 'over TLS' })));
  await bob.waitForFunction(() => window.seen.some(({ text }) => text === 'over TLS'));
  assert.ok(sockets.every((url) => url.startsWith('wss://')), `the page itself speaks ${sockets}`);
  assert.ok(sockets.length > 0, 'the page connects by itself');
  await context.close();
});

test('Node.js fetches the page and speaks WebSocket over TLS', { timeout: 30_000 }, async () => {
  const status = await new Promise((done, fail) => {
    request({ host: 'localhost', port, ca: certificate }, (answer) => {
      answer.resume().on('end', () => done(answer.statusCode));
    }).on('error', fail).end();
  });
  assert.equal(status, 200);
  const socket = new WebSocket(`wss://localhost:${port}/`, 'chat.v1.json', { ca: certificate });
  const welcome = await new Promise((done, fail) => {
    socket.on('error', fail).on('open', () => socket.send('{"type":"hello","user":"Node"}'));
    socket.on('message', (data) => done(JSON.parse(data)));
  });
  assert.equal(welcome.type, 'welcome');
  const closed = new Promise((done) => socket.on('close', (code) => done(code)));
  socket.close(1000);
  assert.equal(await closed, 1000);
});

test("Java's HTTP client and its WebSocket work over TLS with their defaults", { timeout: 60_000 }, async () => {
  const args = [join(import.meta.dirname, 'Foreign.java'), `localhost:${port}`, TOKEN, join(directory, 'cert.pem')];
  const { stdout } = await run(JAVA, args, { env: environment, timeout: 60_000 });
  assert.deepEqual(stdout.trim().split('\n'),
    ['GET /healthz 200', 'GET /metrics 200', 'GET / 200', 'POST 201', 'hello true', 'closed 1000']);
});

test('curl that would rather speak HTTP/2 gets HTTP/1.1 over TLS', async () => {
  for (const version of ['--tlsv1.3', '--tls-max=1.2']) {
    const args = ['--http2', '-sS', '--cacert', join(directory, 'cert.pem'), version.replace('=', ' ').split(' ')].flat();
    const { stdout } = await run(CURL, [...args, '-o', join(directory, 'answer'), '-w', '%{http_code} %{http_version}',
      `https://localhost:${port}/healthz`]);
    assert.equal(stdout, '200 1.1', version);
  }
});
