// Programs of other makes between a client and the server, or in a client's place: HAProxy, Varnish, nginx, Caddy, curl, Java's
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
  HAPROXY = '/usr/sbin/haproxy', VARNISHD = '/usr/sbin/varnishd', NGINX = '/usr/sbin/nginx', CADDY = '/usr/bin/caddy',
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

/** The configurations of docs/proxies.md, each in front of a port. */
const documented = {
  async nginx(upstream) {
    const port = await freePort();
    await front(NGINX, ['-p', directory, '-e', join(directory, 'nginx.log'), '-c', file(`nginx-${port}`, `
daemon off;
user root;
pid ${directory}/nginx-${port}.pid;
events {}
http {
  access_log off;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy; fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen 127.0.0.1:${port};
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header Forwarded "";
    proxy_read_timeout 75s;
    location / { proxy_pass ${upstream.socket ? `http://unix:${upstream.socket}:` : `http://127.0.0.1:${upstream.port}`}; }
    location /chat/ { proxy_pass http://127.0.0.1:${upstream.port}/; }
  }
}`)], port);
    return port;
  },
  async 'nginx over a Unix socket'(upstream) {
    return documented.nginx({ ...upstream, socket: upstream.unix });
  },
  async 'HAProxy by fields'(upstream) {
    const port = await freePort();
    await front(HAPROXY, ['-db', '-f', file(`haproxy-${port}`, `
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 75s
frontend in
  bind 127.0.0.1:${port}
  option forwardfor
  http-request del-header Forwarded
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  default_backend chat
backend chat
  server one 127.0.0.1:${upstream.port}
`)], port);
    return port;
  },
  async 'HAProxy by the PROXY protocol'(upstream) {
    const port = await freePort();
    await front(HAPROXY, ['-db', '-f', file(`haproxy-${port}`, `
defaults
  mode tcp
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:${port}
  default_backend chat
backend chat
  server one 127.0.0.1:${upstream.introduced} send-proxy-v2
`)], port);
    return port;
  },
  async Caddy(upstream) {
    const port = await freePort();
    await front(CADDY, ['run', '--adapter', 'caddyfile', '--config', file(`Caddyfile-${port}`, `
{
  admin off
  auto_https off
  storage file_system ${directory}/caddy
}
http://:${port} {
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:${upstream.port} {
    header_up -Forwarded
  }
}
`)], port);
    return port;
  },
  async Varnish(upstream) {
    const port = await freePort();
    const vcl = file(`varnish-${port}.vcl`, `
vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "${upstream.port}"; }
sub vcl_recv {
  set req.http.X-Forwarded-Host = req.http.host;
  unset req.http.Forwarded;
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
  },
};

/** A chat with listeners for every kind of proxy. */
async function behindProxies(...args) {
  const [port, introduced] = [await freePort(), await freePort()];
  const unix = join(directory, `chat-${port}.sock`);
  const server = await start(SWITCHBOARD_BIN, ['serve', '--ephemeral', '--listen', `127.0.0.1:${port},unix:${unix}`,
    '--proxy-protocol', `127.0.0.1:${introduced}`, ...args], port);
  return { server, port, introduced, unix };
}

/** The status of an upgrade by somebody at this address of the loopback network, and the socket. */
function arrives(port, localAddress, headers = {}) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, 'chat.v1.json', { localAddress, headers });
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve({ socket, status: 101 }));
    socket.on('unexpected-response', (_, response) => resolve({ socket, status: response.statusCode }));
    socket.on('error', reject);
  });
}

test('PX-03: behind every proxy of the documentation each person has limits of their own', async () => {
  for (const [name, make] of Object.entries(documented)) {
    const chat = await behindProxies('--trusted-proxy', '127.0.0.1', '--max-connections-per-address', '2');
    try {
      const port = await make(chat);
      for (const person of ['127.0.0.2', '127.0.0.3', '127.0.0.4']) {
        // What the person makes up is further left than what the proxy adds.
        const forged = (n) => ({ 'X-Forwarded-For': `192.0.2.${n}` });
        const all = [];
        for (const n of [1, 2, 3]) all.push(await arrives(port, person, forged(n)));
        assert.deepEqual(all.map(({ status }) => status), [101, 101, 503], `${person} behind ${name}`);
        for (const { socket } of all) socket.terminate();
      }
      // A page of the host that the client came to is of the same origin, another one is not.
      const origin = (host) => ({ Host: 'localhost:8443', Origin: `http://${host}` });
      const statuses = [];
      for (const host of ['localhost:8443', 'evil.example']) {
        const { socket, status } = await arrives(port, '127.0.0.9', origin(host));
        statuses.push(status);
        socket.terminate();
      }
      assert.deepEqual(statuses, [101, 403], name);
    } finally {
      await chat.server.stop();
      for (const server of fronts.splice(0)) await server.stop('SIGTERM').catch(() => {});
    }
  }
});

test('PX-01: without trust a proxy is one address, and what anybody forwards changes nothing', async () => {
  const chat = await behindProxies('--max-connections-per-address', '2');
  try {
    const port = await documented['HAProxy by fields'](chat);
    const statuses = [];
    const sockets = [];
    for (const [at, person] of [[port, '127.0.0.2'], [port, '127.0.0.3'], [chat.port, '127.0.0.1'], [port, '127.0.0.4']]) {
      const { socket, status } = await arrives(at, person, { 'X-Forwarded-For': '192.0.2.7' });
      statuses.push(status);
      sockets.push(socket);
    }
    assert.deepEqual(statuses, [101, 101, 503, 503]);
    for (const socket of sockets) socket.terminate();
  } finally {
    await chat.server.stop();
  }
});

test('PX-03: forty people behind a proxy post as much as if there were none', async () => {
  const chat = await behindProxies('--trusted-proxy', '127.0.0.1', '--posts-per-second', '1');
  const refusals = async (port, count) => {
    const got = [];
    const sockets = [];
    for (let n = 0; n < count; n += 1) {
      const { socket } = await arrives(port, `127.0.1.${n + 1}`);
      sockets.push(socket);
      socket.on('message', (data) => got.push(JSON.parse(data)));
      socket.send(JSON.stringify({ type: 'hello', user: `Person ${n}` }));
      socket.send(JSON.stringify({ type: 'join', room: 'tea', history: 0 }));
      for (const id of [1, 2]) socket.send(JSON.stringify({ type: 'post', room: 'tea', text: `${n}.${id}`, id }));
    }
    await until(() => got.filter(({ id }) => id === 1 || id === 2).length >= 2 * count,
      () => `${got.filter(({ id }) => id).length} answers`, 20_000);
    for (const socket of sockets) socket.terminate();
    return got.filter(({ type, code }) => type === 'error' && code === 'rate_limited').length;
  };
  try {
    // One address may post ten times as much as one person, and twice that at once: 20.
    assert.equal(await refusals(await documented.nginx(chat), 40), 0);
  } finally {
    await chat.server.stop();
  }
});

test('the chat works under a path of nginx', async () => {
  const chat = await behindProxies('--trusted-proxy', '127.0.0.1');
  try {
    const port = await documented.nginx(chat);
    const page = await fetch(`http://127.0.0.1:${port}/chat/`);
    assert.equal(page.status, 200);
    for (const [, path] of (await page.text()).matchAll(/(?:src|href)="([^"#:]+)"/g)) {
      assert.equal((await fetch(new URL(path, `http://127.0.0.1:${port}/chat/`))).status, 200, path);
    }
    await chats((url, protocol) => new WebSocket(url.replace('/ws', '/chat/ws'), protocol), port);
  } finally {
    await chat.server.stop();
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
