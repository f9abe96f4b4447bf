// Programs of other makes between a client and the server, or in a client's place: HAProxy, Varnish, nginx, curl, Java's
// HTTP client, undici. What each of them does by default must work.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Pool, WebSocket as UndiciWebSocket, fetch as undiciFetch } from 'undici';
import { WebSocket } from 'ws';
import { environment, freePort, Server, until } from './harness.js';

const run = promisify(execFile);
const TOKEN = 'the-token-of-the-operator-0123456789';
const {
  HAPROXY = '/usr/sbin/haproxy', VARNISHD = '/usr/sbin/varnishd', NGINX = '/usr/sbin/nginx',
  CURL = '/usr/bin/curl', JAVA = '/usr/bin/java', SWITCHBOARD_BIN,
} = process.env;

const directory = mkdtempSync(join(tmpdir(), 'proxies-'));
const fronts = [];
let chat;

const file = (name, text) => {
  const path = join(directory, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
};

async function start(command, args, port) {
  const server = new Server(command, args, port);
  await server.start();
  return server;
}

async function front(command, args, port) {
  fronts.push(await start(command, args, port));
}

before(async () => {
  const port = await freePort();
  chat = await start(SWITCHBOARD_BIN,
    ['serve', '--ephemeral', '--listen', `127.0.0.1:${port}`, '--api-token-file', file('api', `${TOKEN}\n`)], port);
});
afterEach(async () => {
  // nginx and HAProxy end by SIGTERM with an exit status, Varnish's manager too.
  for (const server of fronts.splice(0)) await server.stop('SIGTERM').catch(() => {});
});
after(async () => {
  await chat?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** HAProxy in front of a port, with timeouts of two seconds. Returns where it listens. */
async function haproxy(upstream) {
  const port = await freePort();
  await front(HAPROXY, ['-db', '-f', file(`haproxy-${port}`, `
global
  maxconn 200
defaults
  mode http
  http-reuse always
  timeout connect 2s
  timeout client 2s
  timeout server 2s
  timeout tunnel 2s
  timeout http-keep-alive 60s
frontend in
  bind 127.0.0.1:${port}
  default_backend out
backend out
  server one 127.0.0.1:${upstream}
`)], port);
  return port;
}

/** nginx in front of a port, which keeps connections to it. */
async function nginx(upstream) {
  const port = await freePort();
  await front(NGINX, ['-p', directory, '-e', join(directory, 'nginx.log'), '-c', file(`nginx-${port}`, `
daemon off;
pid ${directory}/nginx-${port}.pid;
events {}
http {
  access_log off;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy; fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
  upstream one { server 127.0.0.1:${upstream}; keepalive 4; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host localhost; }
  }
}`)], port);
  return port;
}

/** Varnish in front of a port, with what its manual says of WebSocket. */
async function varnish(upstream) {
  const port = await freePort();
  const vcl = file(`varnish-${port}.vcl`, `
vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "${upstream}"; }
sub vcl_recv {
  if (req.http.upgrade ~ "(?i)websocket") { return (pipe); }
}
sub vcl_pipe {
  if (req.http.upgrade) {
    set bereq.http.upgrade = req.http.upgrade;
    set bereq.http.connection = req.http.connection;
  }
}`);
  await front(VARNISHD, ['-F', '-j', 'none', '-a', `127.0.0.1:${port}`, '-f', vcl, '-n', join(directory, `varnish-${port}`),
    '-s', 'malloc,16m'], port);
  return port;
}

const post = (port, text) => fetch(`http://127.0.0.1:${port}/api/v1/rooms/general/posts`, {
  method: 'POST', body: JSON.stringify({ user: 'Robot', text }),
  headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
});

/** A client of the chat at this address; says hello, joins, posts, and is told of its own message. */
async function chats(make, port) {
  const socket = make(`ws://127.0.0.1:${port}/ws`, 'chat.v1.json');
  const got = [];
  socket.addEventListener('message', ({ data }) => got.push(JSON.parse(data)));
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', ({ message }) => reject(new Error(message)));
  });
  for (const command of [{ type: 'hello', user: 'Ada' }, { type: 'join', room: 'tea' }, { type: 'post', room: 'tea', text: `by ${port}` }]) {
    socket.send(JSON.stringify(command));
  }
  await until(() => got.some(({ type, text }) => type === 'message' && text === `by ${port}`), () => JSON.stringify(got));
  socket.close(1000);
  await new Promise((resolve) => { socket.addEventListener('close', resolve); });
}

test('a silent client stays behind HAProxy by the Pings of the server, however long a Pong may take', async () => {
  const upstream = await freePort();
  const echo = await start(SWITCHBOARD_BIN,
    ['echo', '--listen', `127.0.0.1:${upstream}`, '--ping-interval', '700', '--pong-timeout', '5000'], upstream);
  try {
    const socket = new WebSocket(`ws://127.0.0.1:${await haproxy(upstream)}/`);
    let pings = 0;
    let isClosed = false;
    socket.on('ping', () => { pings += 1; });
    socket.on('close', () => { isClosed = true; });
    await once(socket, 'open');
    // More Pings than the proxy's patience has seconds.
    await until(() => pings >= 6 || isClosed, () => `${pings} Pings`, 20_000);
    assert.equal(isClosed, false);
    // A client that talks is pinged, too: the heartbeat of `ws` waits for it.
    const talk = setInterval(() => socket.send('x'), 50);
    const silent = pings;
    await until(() => pings >= silent + 4 || isClosed, () => `${pings - silent} Pings`, 20_000);
    clearInterval(talk);
    assert.equal(isClosed, false);
    socket.close();
    await once(socket, 'close');
  } finally {
    await echo.stop();
  }
});

test('a POST is answered after connections of nginx and HAProxy were idle for longer than a handshake may take', async () => {
  const ports = [await nginx(chat.port), await haproxy(chat.port)];
  for (const port of ports) assert.equal((await post(port, 'first')).status, 201);
  await sleep(11_000);
  for (const port of ports) assert.equal((await post(port, 'second')).status, 201);
});

test('the chat, its page and its API work behind HAProxy and behind Varnish', async () => {
  for (const port of [await haproxy(chat.port), await varnish(chat.port)]) {
    const page = await fetch(`http://127.0.0.1:${port}/`);
    assert.deepEqual([page.status, page.headers.get('content-type')], [200, 'text/html; charset=utf-8']);
    assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
    assert.equal((await post(port, 'through a proxy')).status, 201);
    await chats((url, protocol) => new WebSocket(url, protocol), port);
  }
});

test('curl --http2 gets an answer by HTTP/1.1 on every path', async () => {
  const at = `http://127.0.0.1:${chat.port}`;
  const status = async (...args) => {
    const { stdout } = await run(CURL, ['--http2', '-sS', '-o', join(directory, 'answer'), '-w', '%{http_code} %{http_version}', ...args]);
    return stdout;
  };
  for (const path of ['/', '/healthz', '/readyz', '/metrics']) {
    assert.equal(await status(at + path), '200 1.1', path);
  }
  assert.equal(await status('-H', `Authorization: Bearer ${TOKEN}`, '-H', 'Content-Type: application/json',
    '-d', '{"user":"Robot","text":"from curl"}', `${at}/api/v1/rooms/general/posts`), '201 1.1');
});

test("Java's HTTP client and its WebSocket work with their defaults", async () => {
  const { stdout } = await run(JAVA, [join(import.meta.dirname, 'Foreign.java'), `127.0.0.1:${chat.port}`, TOKEN],
    { env: environment, timeout: 60_000 });
  assert.deepEqual(stdout.trim().split('\n'),
    ['GET /healthz 200', 'GET /metrics 200', 'GET / 200', 'POST 201', 'hello true', 'closed 1000']);
});

test('undici pipelines, keeps connections and speaks WebSocket', async () => {
  const origin = `http://127.0.0.1:${chat.port}`;
  const pool = new Pool(origin, { connections: 2, pipelining: 10 });
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
  const answers = await Promise.all(Array.from({ length: 100 }, async (_, at) => {
    const isPost = at % 10 === 0;
    const { statusCode, body } = await pool.request({
      path: isPost ? '/api/v1/rooms/undici/posts' : '/healthz', method: isPost ? 'POST' : 'GET', headers,
      body: isPost ? JSON.stringify({ user: 'Robot', text: `${at}` }) : undefined,
    });
    await body.text();
    return statusCode;
  }));
  assert.deepEqual(answers, answers.map((_, at) => (at % 10 === 0 ? 201 : 200)));
  await pool.close();
  const history = await undiciFetch(`${origin}/api/v1/rooms/undici/history`, { headers });
  assert.equal((await history.json()).messages.length, 10);
  await chats((url, protocol) => new UndiciWebSocket(url, protocol), chat.port);
});
