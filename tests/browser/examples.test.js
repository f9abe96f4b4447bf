// The pages of the tutorial examples in a real browser, each against its own server on the tutorial's port.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { launchBrowser, serveFiles, Server } from './harness.js';

const pages = fileURLToPath(new URL('../../examples/', import.meta.url));
const demo = new Server(join(process.env.SWITCHBOARD_EXAMPLES, 'demo_101'), [], 1337);
const hello = new Server(join(process.env.SWITCHBOARD_EXAMPLES, 'hello'), [], 1234);

let browser;
const sites = [];

before(async () => {
  browser = await launchBrowser();
});
after(() => browser?.close());
afterEach(async () => {
  for (const site of sites.splice(0)) site.close();
  await demo.stop();
  await hello.stop();
});

async function open(address) {
  const page = await browser.newPage();
  await page.goto(address);
  return page;
}

async function openDemo(host) {
  const site = await serveFiles(pages, host);
  sites.push(site);
  return [await open(`${site.origin}/demo_101.html`), site.origin];
}

const logged = (page, text) => page.locator('#log li').getByText(text, { exact: true }).last().waitFor();

async function send(page, text) {
  await page.locator('#message').fill(text);
  await page.locator('#send').click();
}

test('S29, S30: demo_101 says where it listens and answers a plain request with 404', async () => {
  await demo.start();
  await demo.printed('Server is listening on port 1337.');
  assert.equal((await fetch('http://127.0.0.1:1337/some/page')).status, 404);
  await demo.printed('Received request from /some/page');
});

test('S31, S34, S35, S36, S37: the demo_101 page logs what is opened, sent and received', async () => {
  await demo.start();
  const [page, origin] = await openDemo();
  await logged(page, 'Opened with the subprotocol echo-protocol.');
  await demo.printed(`Connection accepted from origin ${origin}`);
  await send(page, 'hi');
  await logged(page, 'Sent: hi');
  await logged(page, 'Received: Hey there');
  await demo.printed('Received Message: hi');
  await page.close();
  await demo.printed('has been disconnected.');
});

test('S33: each word of demo_101 has its answer', async () => {
  await demo.start();
  const [page] = await openDemo();
  await logged(page, 'Opened with the subprotocol echo-protocol.');
  const answers = {
    hi: 'Hey there',
    hello: 'Heya!',
    xyzzy: 'Nothing happens.',
    desu: 'Keep typing, man. Keep typing.',
    '<b>what</b>': "Hello. Uh... what am I supposed to do with '<b>what</b>'?",
  };
  for (const [word, answer] of Object.entries(answers)) {
    await send(page, word);
    await logged(page, `Received: ${answer}`);
  }
  assert.equal(await page.locator('#log b').count(), 0);
});

test('S36, S39: the demo_101 page logs that the server closed, and that it could not connect', async () => {
  await demo.start();
  const [page] = await openDemo();
  await logged(page, 'Opened with the subprotocol echo-protocol.');
  await demo.stop();
  await page.locator('#log li').getByText(/^Closed with code 10(01|12)\b/).waitFor();
  assert.equal(await page.locator('#log li').getByText('Failed.', { exact: true }).count(), 0);
  await page.reload();
  await logged(page, 'Failed.');
  await page.locator('#log li').getByText(/^Closed with code 1006\b/).waitFor();
});

test('S32: a page of another origin is refused by demo_101', async () => {
  await demo.start();
  const [page] = await openDemo('127.0.0.2');
  await logged(page, 'Failed.');
  assert.doesNotMatch(demo.output, /Connection accepted/);
});

test('S40: the hello page, opened from disk, logs the greeting of the server, which logs the greeting of the page', async () => {
  await hello.start();
  const page = await open(pathToFileURL(join(pages, 'hello.html')).href);
  await logged(page, 'Server: Hello client!');
  await hello.printed('Client: Hello server!');
});
