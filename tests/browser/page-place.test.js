// The page behind a reverse proxy that keeps it under a path: nginx, with the lines that its manual has for WebSocket.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { Chat, enter, isConnected, noComplaints, say, sees, titled } from './driver.js';
import { freePort, launchBrowser, Server, until } from './harness.js';

const NGINX = process.env.NGINX ?? '/usr/sbin/nginx';

let browser;
let chat;
let nginx;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(async () => {
  await nginx?.stop('SIGTERM');
  nginx = undefined;
  await chat?.stop();
});

const configuration = (directory, port, upstream) => `
daemon off;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log;
events {}
http {
  access_log off;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy; fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
  server {
    listen 127.0.0.1:${port};
    location /chat/ {
      proxy_pass http://127.0.0.1:${upstream}/;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }
  }
}`;

test('behind nginx the page lives under a path, with everything that it asks for', async () => {
  chat = await Chat.start(browser);
  const port = await freePort();
  const file = join(chat.directory, 'nginx.conf');
  writeFileSync(file, configuration(chat.directory, port, chat.port));
  nginx = new Server(NGINX, ['-c', file, '-p', chat.directory, '-e', join(chat.directory, 'error.log')], port);
  await nginx.start();
  const url = `http://127.0.0.1:${port}/chat/`;
  const asked = [];
  const page = await chat.open('', { url, before: (tab) => {
    tab.on('request', (request) => asked.push(request.url()));
    tab.on('websocket', (socket) => asked.push(socket.url().replace('ws:', 'http:')));
  } });
  await say(page, 'from below');
  await sees(page, 'from below');
  await enter(page, 'garden');
  await titled(page, '# garden');
  assert.equal(page.url(), `${url}#garden`);
  await page.reload();
  await isConnected(page);
  await page.goBack();
  await titled(page, '# general');
  assert.equal(page.url(), url);
  assert.deepEqual(asked.filter((address) => !address.startsWith(url)), []);
  assert.ok(asked.includes(`${url}ws`));
  // A token leaves the address, the path stays.
  const ada = await chat.open(`?token=${chat.token('Ada')}`, { url });
  assert.equal(ada.url(), url);
  // Without the slash nginx leads there.
  const bare = await chat.open('', { url: url.slice(0, -1) });
  assert.equal(bare.url(), url);
  noComplaints(page, ada, bare);
});

test('at the root of its own address the page asks for the same files', async () => {
  chat = await Chat.start(browser);
  const asked = [];
  const page = await chat.open('', { before: (tab) => tab.on('websocket', (socket) => asked.push(socket.url())) });
  await say(page, 'hello');
  await sees(page, 'hello');
  assert.deepEqual(asked, [`ws://127.0.0.1:${chat.port}/ws`]);
  // All modules that the page begins with are asked for at once, and not one after the other; the others when it is at rest.
  const later = ['browse.js', 'emoji.js', 'frames.js', 'moderate.js', 'picker.js', 'settings.js'];
  const look = () => page.evaluate(() => ({
    loaded: performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname.slice(1)).filter((name) => name.endsWith('.js')),
    told: [...document.querySelectorAll('link[rel=modulepreload], script')].map((one) => one.getAttribute('href') ?? one.getAttribute('src')),
  }));
  await until(async () => (await look()).loaded.some((name) => later.includes(name)), () => 'the others do not come');
  const { loaded, told } = await look();
  const first = Math.min(...later.map((name) => loaded.indexOf(name)).filter((at) => at >= 0));
  assert.deepEqual([...new Set(loaded.slice(0, first))].sort(), [...new Set(told)].sort());
  noComplaints(page);
});

test('a page of one’s own uses the client that the server brings', async () => {
  const own = mkdtempSync(join(tmpdir(), 'switchboard-own-'));
  writeFileSync(join(own, 'index.html'), '<!doctype html><html lang="en"><title>own</title><link rel="icon" href="data:,"><ul id="said"></ul><script type="module" src="own.js"></script></html>');
  writeFileSync(join(own, 'own.js'), `
    import { Client, webStore } from './client/index.js';
    const client = new Client({ url: new URL('ws', document.baseURI), user: 'Own', outbox: webStore(() => sessionStorage), storage: webStore(() => localStorage) });
    client.on('message', (room, { user, text }) => {
      const item = document.createElement('li');
      item.textContent = user + ': ' + text;
      document.getElementById('said').append(item);
    });
    client.start();
    const room = await client.join('general');
    await client.say(room, 'hello from a page of one’s own');
    window.client = client;
  `);
  chat = await Chat.start(browser, { args: ['--page', own] });
  const page = await chat.open('', { isOpen: false });
  await page.getByText('Own: hello from a page of one’s own').waitFor();
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  // A network that is gone is known at once, and so is its return.
  await page.context().setOffline(true);
  await page.waitForFunction(() => window.client.state.at !== 'open', null, { timeout: 30_000 });
  await ben.say({ type: 'post', room: 'general', text: 'while it was away' });
  await page.context().setOffline(false);
  await page.waitForFunction(() => window.client.find('general').messages.at(-1).text === 'while it was away', null, { timeout: 30_000 });
  assert.deepEqual(page.complaints.filter((one) => !/ERR_INTERNET_DISCONNECTED/.test(one)), []);
  rmSync(own, { recursive: true });
});
