// The page of docs/tutorial.md, as somebody who follows it has it.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { complaintsOf, freePort, launchBrowser, Server, until } from './harness.js';

const directory = mkdtempSync(join(tmpdir(), 'book-'));
let browser;
let server;
let port;

before(async () => {
  const chapter = readFileSync(new URL('../../docs/tutorial.md', import.meta.url), 'utf8');
  const files = [...chapter.matchAll(/```\w+ file=page\/(\S+)\n(.*?)```/gs)];
  assert.equal(files.length, 2);
  for (const [, name, text] of files) writeFileSync(join(directory, name), text);
  browser = await launchBrowser();
  port = await freePort();
  server = new Server(process.env.SWITCHBOARD_BIN, ['--ephemeral', '--page', directory, '--listen', `127.0.0.1:${port}`], port);
  await server.start();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function tab(user) {
  const page = await browser.newPage();
  page.complaints = complaintsOf(page);
  await page.goto(`http://localhost:${port}/?user=${user}`);
  await page.getByRole('status').getByText('open').waitFor();
  return page;
}

test('the page of the tutorial shows what others say, as text, and sends what was written while the server was away', async () => {
  const [ada, bob] = [await tab('Ada'), await tab('Bob')];
  const shown = (page) => page.locator('li').allTextContents();
  const say = async (page, text) => {
    await page.getByLabel('Message').fill(text);
    await page.getByRole('button', { name: 'Send' }).click();
  };
  await say(ada, 'hello <b>you</b>');
  await until(async () => (await shown(bob)).includes('Ada: hello <b>you</b>'), () => 'Bob does not see it');
  assert.deepEqual([...ada.complaints, ...bob.complaints], []);
  await server.stop();
  await say(bob, 'while it was away');
  await server.start();
  await until(async () => (await shown(ada)).includes('Bob: while it was away'), () => 'Ada does not see it');
});
