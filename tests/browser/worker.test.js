// The client for JavaScript in a worker, where there is no document: on a page of one's own, which the server serves.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { complaintsOf, freePort, launchBrowser, Server } from './harness.js';

const directory = mkdtempSync(join(tmpdir(), 'switchboard-worker-'));
writeFileSync(join(directory, 'index.html'), '<!doctype html><title>worker</title><link rel="icon" href="data:,"><script type="module" src="page.js"></script>');
writeFileSync(join(directory, 'page.js'), `
const worker = new Worker('worker.js', { type: 'module' });
globalThis.said = new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(message));
});
`);
writeFileSync(join(directory, 'worker.js'), `
import { Client } from './client/index.js';
const client = new Client({ url: new URL('ws', location.href), user: 'Worker' });
client.start();
const room = await client.join('r');
const heard = new Promise((resolve) => client.on('message', (where, { text }) => resolve(text)));
const { seq } = await client.say(room, 'from a worker');
postMessage([typeof document, seq, client.user, await heard]);
`);

let browser;
let server;
before(async () => {
  browser = await launchBrowser();
  const port = await freePort();
  server = new Server(process.env.SWITCHBOARD_BIN, ['serve', '--listen', `127.0.0.1:${port}`, '--ephemeral', '--page', directory], port);
  await server.start();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('a worker joins and says something', async () => {
  const page = await browser.newPage();
  const complaints = complaintsOf(page);
  await page.goto(`http://127.0.0.1:${server.port}/`);
  const said = await page.evaluate(() => globalThis.said);
  assert.deepEqual(said, ['undefined', 1, 'Worker', 'from a worker']);
  assert.deepEqual(complaints, []);
});
