// The operator's page: signing in, what it shows, what it does, with a keyboard, on a phone and in the dark.

import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { Chat, noComplaints, shows, WIDE } from './driver.js';
import { complaintsOf, launchBrowser, screenshots, until } from './harness.js';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TOKEN = 'the-token-of-the-operator-0123456789';
const SMALL_PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

async function open(options = {}) {
  const page = await (await chat.context(options)).newPage();
  page.complaints = complaintsOf(page);
  await page.goto(`${chat.url}admin`);
  return page;
}

async function signedIn(options) {
  const page = await open(options);
  await page.getByLabel('Token of the API').fill(TOKEN);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Figures' }).waitFor();
  return page;
}

async function section(page, name) {
  await page.getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { name, exact: true, level: 2 }).waitFor();
}

const row = (page, section, text) => page.locator(`${section} tbody tr`, { hasText: text });
const said = (page, text) => page.locator('#state', { hasText: text }).waitFor();

/** Somebody in a room, who keeps what they are told. */
async function member(user, room = 'lobby') {
  const client = await chat.client({ user });
  await client.say({ type: 'join', room });
  return client;
}

async function shoot(page, name) {
  if (!screenshots) return;
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, name), animations: 'disabled' });
}

async function findings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 160)}`));
}

for (const threads of [1, 2]) {
  test(`an operator sees who is connected, and ends a connection (${threads} loops)`, async () => {
    chat = await Chat.start(browser, { args: ['--threads', String(threads)] });
    const [ada] = [await member('Ada <b>'), await member('Ben', 'other')];
    await ada.say({ type: 'post', room: 'lobby', text: 'hello' });
    const page = await signedIn();
    await until(async () => (await page.locator('#plots div', { hasText: /^Users/ }).textContent()).startsWith('Users2'),
      () => 'the figures do not say that two users are here');
    await section(page, 'Connections');
    await row(page, '#connections', 'Ada <b>').waitFor();
    await page.getByLabel('Search by user').fill('ben');
    await page.keyboard.press('Enter');
    await shows(page, () => page.locator('#connections tbody td[data-label=User]').allTextContents(), ['Ben']);
    assert.match(await row(page, '#connections', 'Ben').textContent(), /127\.0\.0\.1.*other/);
    await page.getByRole('button', { name: /^Disconnect Ben/ }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('button', { name: /^Disconnect Ben/ }).click();
    await page.locator('#confirm-yes').click();
    await said(page, 'Ben is disconnected.');
    await shows(page, () => page.locator('#connections tbody tr').count(), 0);
    await section(page, 'Closes');
    await row(page, '#closes', 'disconnected by an operator').waitFor();
    assert.match(await row(page, '#closes', 'disconnected by an operator').textContent(), /Ben.*4004/);
    noComplaints(page);
  });
}

test('rooms have their members, who can be kicked; the focus stays while the page refreshes', async () => {
  chat = await Chat.start(browser);
  const [ada, ben] = [await member('Ada'), await member('Ben')];
  await ada.say({ type: 'post', room: 'lobby', text: 'one' });
  const page = await signedIn();
  await section(page, 'Rooms');
  await row(page, '#rooms-table', 'lobby').waitFor();
  await page.getByRole('button', { name: 'Members of lobby' }).click();
  await page.getByRole('heading', { name: 'Members of lobby' }).waitFor();
  await shows(page, async () => (await page.locator('#members tbody td[data-label=User]').allTextContents()).sort(), ['Ada', 'Ben']);
  const button = page.getByRole('button', { name: 'Kick Ada' });
  await button.focus();
  const state = await page.locator('#state').textContent();
  await until(async () => (await page.locator('#state').textContent()) !== state, () => 'the page does not refresh');
  assert.ok(await button.evaluate((it) => it === document.activeElement), 'the focus has moved');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').getByRole('button', { name: 'Kick' }).focus();
  await page.keyboard.press('Enter');
  await said(page, 'Ada is out of lobby.');
  await shows(page, () => page.locator('#members tbody td[data-label=User]').allTextContents(), ['Ben']);
  assert.equal((await ada.say({ type: 'post', room: 'lobby', text: 'still here?' })).code, 'not_joined');
  await ben.say({ type: 'post', room: 'lobby', text: 'two' });
  await until(async () => /2/.test(await row(page, '#rooms-table', 'lobby').locator('[data-label=Messages]').textContent()),
    () => 'the room does not count its messages');
  noComplaints(page);
});

test('a user is banned and let in again; everybody is told something; the server is drained', async () => {
  chat = await Chat.start(browser);
  await member('Mallory');
  const reader = await chat.guest('Reader');
  const page = await signedIn();
  await section(page, 'Moderation');
  await page.locator('#ban').getByLabel('User', { exact: true }).fill('mallory');
  await page.locator('#ban').getByLabel('For').selectOption('an hour');
  await page.locator('#ban').getByLabel('Reason').fill('spam <img>');
  await page.getByRole('button', { name: 'Ban', exact: true }).click();
  await said(page, 'mallory is banned.');
  assert.match(await row(page, '#bans-table', 'mallory').textContent(), /spam <img>/);
  await page.getByRole('button', { name: 'Lift the ban of mallory' }).click();
  await said(page, 'The ban of mallory is lifted.');
  await shows(page, () => page.locator('#bans-table tbody tr').count(), 0);
  await page.locator('#kick-room').fill('nowhere');
  await page.locator('#kick-user').fill('nobody');
  await page.getByRole('button', { name: 'Kick', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'there is no such user in the room' }).waitFor();
  await section(page, 'Server');
  await page.locator('#broadcast').getByLabel('Text').fill('The server moves at noon.');
  await page.getByRole('button', { name: 'Broadcast' }).click();
  await said(page, '1 connections were told.');
  await reader.getByText('The server moves at noon.').first().waitFor();
  // The browser itself tells its console of the refusal that was asked for above.
  assert.equal(page.complaints.length, 1);
  assert.match(page.complaints[0], /404/);
  await page.getByRole('button', { name: 'Drain' }).click();
  await page.locator('#confirm-yes').click();
  await until(() => !chat.server.isRunning, () => 'the server does not end', 20_000);
});

test('a wrong token, one without the scope, none at all', async () => {
  chat = await Chat.start(browser);
  const page = await open();
  await page.getByLabel('Token of the API').fill('wrong');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').filter({ hasText: 'does not take this token' }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'a wrong token is kept nowhere');
  await page.getByLabel('Token of the API').fill(TOKEN);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Figures' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Figures' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token of the API').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  // The browser itself tells its console of each 401.
  assert.ok(page.complaints.every((it) => it.includes('401')), page.complaints.join('\n'));
  // The operator's token is revoked: the page goes, too.
  await writeFile(join(chat.directory, 'api'), '# all are revoked\n');
  chat.server.signal('SIGHUP');
  await until(async () => (await fetch(`${chat.url}admin/`)).status === 404, () => 'the page is there without an operator');
  assert.equal((await fetch(`${chat.url}admin/admin.js`)).status, 404);
});

for (const [colorScheme, device, options] of [['light', 'desktop', { viewport: WIDE }], ['dark', 'phone', SMALL_PHONE]]) {
  test(`axe-core finds nothing on the ${colorScheme} operator's page of a ${device}, and nothing is cut off`, async () => {
    chat = await Chat.start(browser);
    await Promise.all(Array.from({ length: 12 }, (_, nth) => member(`Somebody with a long name ${nth}`, `a-room-with-a-long-name-${nth}`)));
    await chat.api('PUT', '/bans/trudy', { reason: 'a reason of some length, which has to break somewhere' });
    const page = await open({ ...options, colorScheme });
    const check = async (name) => {
      await shoot(page, `admin-${name}-${device}.png`);
      assert.deepEqual(await findings(page), [], name);
      const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= shown, `${name} is ${wide} px wide on a window of ${shown}`);
    };
    await check('sign-in');
    await page.getByLabel('Token of the API').fill(TOKEN);
    await page.getByRole('button', { name: 'Sign in' }).click();
    for (const name of ['Figures', 'Connections', 'Rooms', 'Moderation', 'Closes', 'Server']) {
      await section(page, name);
      if (name === 'Connections') await row(page, '#connections', 'Somebody').first().waitFor();
      if (name === 'Rooms') await row(page, '#rooms-table', 'a-room').first().waitFor();
      if (name === 'Moderation') await row(page, '#bans-table', 'trudy').waitFor();
      await check(name.toLowerCase());
    }
    await page.getByRole('button', { name: 'Drain' }).click();
    await page.getByRole('dialog').waitFor();
    await check('dialog');
    noComplaints(page);
  });
}
