// The tutorial chat with a page of its own, which speaks the subprotocol `json`. Names carry the ids of the behaviours they show.

import assert from 'node:assert/strict';
import { after, before, beforeEach, afterEach, test } from 'node:test';
import { complaintsOf, freePort, launchBrowser, serveFiles, Server, until } from './harness.js';

let browser;
let files;
let server;
let port;
let contexts;

before(async () => {
  browser = await launchBrowser();
  files = await serveFiles(new URL('pages', import.meta.url).pathname);
});
after(async () => {
  await browser?.close();
  files?.close();
});
beforeEach(async () => {
  port = await freePort();
  server = new Server(process.env.SWITCHBOARD_BIN, ['serve', '--listen', `127.0.0.1:${port}`, '--ephemeral'], port);
  contexts = [];
  await server.start();
});
afterEach(async () => {
  for (const context of contexts) await context.close();
  await server.stop();
});

async function tab() {
  const context = await browser.newContext();
  contexts.push(context);
  const page = await context.newPage();
  page.complaints = complaintsOf(page);
  await page.goto(`${files.origin}/tutorial.html?ws://127.0.0.1:${port}/ws`);
  await page.locator('#state.open').waitFor();
  return page;
}

async function post(page, user, text) {
  await page.locator('#user').fill(user);
  await page.locator('#text').fill(text);
  await page.getByRole('button', { name: 'Post' }).click();
}

async function shows(page, ...lines) {
  let seen;
  await until(async () => {
    seen = await page.locator('#list li').allTextContents();
    return JSON.stringify(seen) === JSON.stringify(lines);
  }, () => `expected ${JSON.stringify(lines)}, the page shows ${JSON.stringify(seen)}`);
}

test('S7, S9-S13, S44: the list comes on open and after every post, newest first, with the time of the server', async () => {
  const [one, two] = [await tab(), await tab()];
  assert.equal(await one.title(), 'json chat');
  await post(one, 'Ada', 'hello');
  await shows(two, 'Ada: hello');
  await post(two, 'Ben', 'hi');
  await shows(one, 'Ben: hi', 'Ada: hello');
  await shows(await tab(), 'Ben: hi', 'Ada: hello');
  const time = Number(await one.locator('#list li').first().getAttribute('data-time'));
  assert.ok(Math.abs(Date.now() - time) < 60_000);
  for (let i = 0; i < 50; i += 1) await post(one, 'Ada', `line ${i}`);
  await shows(two, ...Array.from({ length: 50 }, (_, i) => `Ada: line ${49 - i}`));
  assert.deepEqual([...one.complaints, ...two.complaints], []);
});

test('S15, S16: the dot follows the connection, and a restart is survived', async () => {
  const page = await tab();
  await server.stop();
  await page.locator('#state:not(.open)').waitFor();
  await server.start();
  await page.locator('#state.open').waitFor();
  await post(page, 'Ada', 'back');
  await shows(page, 'Ada: back');
});

test('a post with something wrong is told of, and the connection stays', async () => {
  const page = await tab();
  await post(page, '', 'who am I?');
  await until(async () => (await page.title()).includes('user'), () => 'no error was shown');
  await post(page, 'Ada', 'I am Ada');
  await shows(page, 'Ada: I am Ada');
});

test('messages cross between the tutorial chat and the chat page', async () => {
  const page = await tab();
  const context = await browser.newContext({ viewport: { width: 1100, height: 700 } });
  contexts.push(context);
  const chat = await context.newPage();
  await chat.goto(`http://127.0.0.1:${port}/`);
  await chat.locator('#status[data-state=open]').waitFor();
  await chat.getByLabel('Your name').fill('Grace');
  await chat.getByLabel('Your name').press('Enter');
  await post(page, 'Ada', 'from the tutorial');
  await chat.locator('#messages').getByText('from the tutorial').waitFor();
  await chat.getByLabel('Message', { exact: true }).fill('from the page');
  await chat.getByRole('button', { name: 'Send' }).click();
  await shows(page, 'Grace: from the page', 'Ada: from the tutorial');
});
