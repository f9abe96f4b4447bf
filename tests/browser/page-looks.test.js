// How the page looks and is reached: for everyone, on every window, at any hour.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, enter, field, isAtRest, isConnected, lines, message, noComplaints, openMenu, PHONE, say, sees, titled, WIDE } from './driver.js';
import { launchBrowser, screenshots, until } from './harness.js';
import { looksAsBefore } from './snapshots.js';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ON_A_PHONE = { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

/** Of a page, or of a part of one. */
async function shoot(page, name) {
  if (!screenshots) return;
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, name), animations: 'disabled' });
}

/** What axe-core finds, as `rule: element`. */
async function findings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 120)}`));
}

/** A room with something of everything in it. */
async function furnished(options) {
  chat = await Chat.start(browser);
  const [ada, ben] = [await chat.client({ token: chat.token('Ada') }), await chat.client({ user: 'Ben ✓' })];
  for (const one of [ada, ben]) await one.say({ type: 'join', room: 'general' });
  await ada.say({ type: 'post', room: 'general', text: 'Is the new server up?' });
  await ben.say({ type: 'post', room: 'general', text: 'It is, and quick. '.repeat(8).trim() });
  await ada.say({ type: 'post', room: 'general', text: 'to be deleted' });
  await ada.say({ type: 'edit', room: 'general', seq: 1, text: 'Is the new server up yet?' });
  await ada.say({ type: 'delete', room: 'general', seq: 3 });
  for (const emoji of ['👍', '🎉']) await ben.say({ type: 'react', room: 'general', seq: 1, emoji });
  const page = await chat.guest('Cleo', options);
  await say(page, 'Then I look at it now.');
  await until(async () => (await bodies(page)).length === 4, () => 'not all messages');
  return page;
}

for (const colorScheme of ['light', 'dark']) {
  for (const [device, options] of [['desktop', { viewport: WIDE }], ['phone', ON_A_PHONE]]) {
    test(`axe-core finds nothing on the ${colorScheme} page of a ${device}`, async () => {
      const page = await furnished({ ...options, colorScheme });
      await shoot(page, `page-${device}-${colorScheme}.png`);
      assert.deepEqual(await findings(page), []);
      // Everything that opens, open.
      await chat.api('POST', '/broadcast', { text: 'The server moves at noon.' });
      await page.locator('.announcement').waitFor();
      await page.getByLabel('Search in this room').fill('server');
      await page.getByLabel('Search in this room').press('Enter');
      await page.locator('#found-list .hit').first().waitFor();
      await shoot(page, `page-${device}-${colorScheme}-found.png`);
      assert.deepEqual(await findings(page), []);
      await page.getByRole('button', { name: 'Close the search' }).click();
      if (device === 'phone') {
        await page.locator('#rooms-button').click();
        await shoot(page, `page-${device}-${colorScheme}-rooms.png`);
        assert.deepEqual(await findings(page), []);
        await page.locator('#people-button').click();
        assert.deepEqual(await findings(page), []);
        await page.locator('#people-button').click();
      }
      if (device === 'phone') await page.locator('#rooms-button').click();
      await page.getByRole('button', { name: 'Browse rooms' }).click();
      await page.locator('.room-row').first().waitFor();
      await shoot(page, `page-${device}-${colorScheme}-browse.png`);
      assert.deepEqual(await findings(page), []);
      await page.keyboard.press('Escape');
      if (device === 'phone') await page.keyboard.press('Escape');
      const own = message(page, 'Then I look');
      await own.locator('summary').click({ force: true });
      await page.locator('.menu').waitFor();
      await shoot(page, `page-${device}-${colorScheme}-menu.png`);
      assert.deepEqual(await findings(page), []);
      await page.keyboard.press('Escape');
      await page.evaluate(() => { location.hash = '#a b'; });
      await page.getByText('You cannot join').waitFor();
      await chat.api('PUT', '/bans/Cleo', { seconds: 3600 });
      await page.getByText('You are banned').waitFor();
      await shoot(page, `page-${device}-${colorScheme}-banned.png`);
      assert.deepEqual(await findings(page), []);
      noComplaints(page);
    });
  }
}

test('the page of somebody who is signed in is found without fault, too', async () => {
  chat = await Chat.start(browser);
  const page = await chat.signedIn('Ada');
  const ben = await chat.signedIn('Ben');
  await page.getByRole('button', { name: 'Write to Ben' }).click();
  await say(page, 'between us');
  await sees(page, 'between us');
  await shoot(page, 'page-desktop-signed-in.png');
  assert.deepEqual(await findings(page), []);
  noComplaints(page, ben);
});

/** Where an element is, and whether all of it can be seen and pressed. */
const isInReach = (page, locator) => locator.evaluateAll((elements) => elements.every((element) => {
  const box = element.getBoundingClientRect();
  const at = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  return box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight && (element === at || element.contains(at));
}));

for (const [device, options] of [['desktop', { viewport: WIDE }], ['phone', ON_A_PHONE], ['small phone', { ...ON_A_PHONE, viewport: { width: 320, height: 568 } }]]) {
  test(`all of the menu is in reach on a ${device}, for every message`, async () => {
    chat = await Chat.start(browser);
    const page = await chat.guest('Ada', options);
    const long = `long${' and longer'.repeat(30)}`;
    const ben = await chat.client({ user: 'Ben' });
    await ben.say({ type: 'join', room: 'general' });
    await ben.say({ type: 'post', room: 'general', text: 'x' });
    await ben.say({ type: 'post', room: 'general', text: long });
    for (let i = 0; i < 8; i += 1) await say(page, `mine ${i}`);
    await sees(page, 'x', long, ...Array.from({ length: 8 }, (_, i) => `mine ${i}`));
    for (const text of ['mine 7', 'mine 3', 'long and', 'x']) {
      const item = page.locator('#messages .message').filter({ has: page.locator('.body', { hasText: text }) }).first();
      await item.scrollIntoViewIfNeeded();
      await isAtRest(page);
      await item.locator('summary').click({ force: true });
      await page.locator('.menu').waitFor();
      assert.ok(await isInReach(page, page.locator('.menu button')), `a button of the menu of ${text} is out of reach`);
      assert.equal(await page.locator('.menu').count(), 1);
      const sideways = await page.evaluate(() => [document.documentElement, document.querySelector('#log')].some((one) => one.scrollWidth > one.clientWidth));
      assert.equal(sideways, false, 'it scrolls sideways');
      const sizes = await page.locator('.menu button').evaluateAll((all) => all.map((one) => Math.min(one.offsetWidth, one.offsetHeight)));
      assert.ok(Math.min(...sizes) >= 24);
      await page.keyboard.press('Escape');
    }
    noComplaints(page);
  });
}

test('the menu is closed by Escape, by a click elsewhere, by scrolling and by another menu', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 60) });
  const page = await chat.guest('Ada');
  await until(async () => (await bodies(page)).at(-1) === 'line 60', () => 'no history');
  const menu = page.locator('.menu');
  await openMenu(page, 'line 60');
  await page.keyboard.press('Escape');
  assert.equal(await menu.count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'SUMMARY');
  await openMenu(page, 'line 60');
  await page.locator('#title').click();
  assert.equal(await menu.count(), 0);
  await openMenu(page, 'line 60');
  await page.mouse.wheel(0, -200);
  await until(async () => (await menu.count()) === 0, () => 'it stays while one scrolls');
  await openMenu(page, 'line 59');
  await message(page, 'line 58').hover();
  await message(page, 'line 58').locator('summary').click();
  assert.equal(await menu.count(), 1);
  await message(page, 'line 58').locator('summary').click();
  assert.equal(await menu.count(), 0);
  await openMenu(page, 'line 58');
  await field(page).focus();
  assert.equal(await menu.count(), 0);
  noComplaints(page);
});

test('a file that is dropped or pasted leaves the page where it is, with a word about it', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const word = page.getByText('Files cannot be sent in this chat.');
  const closeIt = () => page.getByRole('button', { name: 'Close the notice' }).click();
  for (const target of ['body', '#log', '#text']) {
    const prevented = await page.locator(target).evaluate((element) => {
      const data = new DataTransfer();
      data.items.add(new File(['x'], 'x.png', { type: 'image/png' }));
      return ['dragenter', 'dragover', 'drop'].map((type) => !element.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true })));
    });
    assert.deepEqual(prevented, [true, true, true]);
    await word.waitFor();
    await closeIt();
  }
  const paste = (text) => field(page).evaluate((element, said) => {
    const data = new DataTransfer();
    data.items.add(new File(['x'], 'x.png', { type: 'image/png' }));
    if (said) data.setData('text/plain', said);
    return !element.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
  }, text);
  assert.equal(await paste(''), true);
  await word.waitFor();
  await closeIt();
  // Text with a picture beside it is text.
  assert.equal(await paste('cells'), false);
  assert.equal(await word.count(), 0);
  assert.equal(page.url(), chat.url);
  noComplaints(page);
});

test('a file that is really dragged onto the page leaves it where it is', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [new URL(import.meta.url).pathname], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop']) await session.send('Input.dispatchDragEvent', { type, x: 500, y: 300, data });
  await page.getByText('Files cannot be sent in this chat.').waitFor();
  assert.equal(page.url(), chat.url);
  noComplaints(page);
});

test('today is yesterday when the day is over', async () => {
  chat = await Chat.start(browser);
  const page = await chat.open('', { before: (tab) => tab.clock.install({ time: Date.now() }) });
  await say(page, 'today');
  await sees(page, 'today');
  const day = page.locator('#messages .day time');
  assert.equal(await day.textContent(), 'Today');
  await page.clock.fastForward(25 * 3600 * 1000);
  await until(async () => (await day.textContent()) === 'Yesterday', () => 'it is still today');
  noComplaints(page);
});

test('with sixty rooms one still joins another and changes the name', async () => {
  chat = await Chat.start(browser, { args: ['--posts-per-second', '0'] });
  const names = Array.from({ length: 60 }, (_, i) => `room-${String(i).padStart(2, '0')}`);
  for (const options of [{ viewport: WIDE }, ON_A_PHONE]) {
    const page = await chat.open('#room-55', { ...options, before: (tab) => tab.addInitScript((rooms) => {
      localStorage.setItem('switchboard.rooms', JSON.stringify(rooms));
    }, names) });
    const isWide = options.viewport === WIDE;
    await titled(page, '# room-55');
    if (!isWide) await page.locator('#rooms-button').click();
    await until(() => isInReach(page, page.locator('#join-name, #join button, #user')), () => 'out of reach');
    const current = page.locator('#rooms [aria-current]');
    await until(() => isInReach(page, current), () => 'the open room is not in view');
    await page.getByLabel('Room to join').fill('another');
    await page.getByRole('button', { name: 'Join', exact: true }).click();
    await titled(page, '# another');
    if (isWide) await until(() => isInReach(page, current), () => 'the new room is not in view');
    noComplaints(page);
  }
});

test('the state of the connection can be read on a phone', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada', ON_A_PHONE);
  await chat.server.stop();
  await page.locator('#status[data-state=closed]').waitFor();
  const box = await page.locator('#status-text').boundingBox();
  assert.ok(box.width > 50 && box.height > 10, 'nothing to be read');
  await shoot(page, 'page-phone-lost.png');
});

test('the counter of people counts people', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const second = await page.context().newPage();
  await second.goto(chat.url);
  await second.locator('#status[data-state=open]').waitFor();
  await until(async () => (await page.locator('#people-count').textContent()) === '1', () => 'one person with two tabs');
  await enter(page, 'garden');
  await titled(page, '# garden');
  noComplaints(page);
});

test('S44: a conversation of three looks as in the pictures of the documentation', async () => {
  chat = await Chat.start(browser);
  const rights = ['--room', '*:join,post,moderate'];
  const viewport = { width: 980, height: 580 };
  const ada = await chat.open(`?token=${chat.token('Ada Lovelace', ...rights)}`, { viewport });
  const [grace, ben] = [await chat.client({ token: chat.token('Grace Hopper') }), await chat.client({ user: 'Ben' })];
  for (const room of ['general', 'garden', 'release']) for (const one of [grace, ben]) await one.say({ type: 'join', room });
  for (const room of ['garden', 'release', 'general']) {
    await ada.evaluate((name) => { location.hash = `#${name}`; }, room);
    await titled(ada, `# ${room}`);
  }
  const post = (one, room, text) => one.say({ type: 'post', room, text });
  await post(ben, 'general', 'Is the new server up?');
  await post(grace, 'general', 'It is: **one loop**, one core, and this page came out of the same binary.');
  await post(grace, 'general', '```\n$ switchboard --listen 0.0.0.0:8080\nServer running at http://0.0.0.0:8080\n```');
  await post(ben, 'general', '> @Grace Hopper: It is: one loop, one core\n@Ada Lovelace have a look: https://chat.example/#general/2');
  await ben.say({ type: 'react', room: 'general', seq: 2, emoji: '🎉' });
  await grace.say({ type: 'react', room: 'general', seq: 2, emoji: '🚀' });
  await say(ada, 'Red when you pull the plug :tada:'.replace(':tada:', '🎉'));
  await say(ada, 'And green again *by itself*, with nothing lost.');
  await ada.getByRole('button', { name: '1 🎉, Ben' }).click();
  await post(ben, 'garden', 'the roses are out');
  for (const text of ['@Ada Lovelace, ship it?', 'all green']) await post(grace, 'release', text);
  await grace.say({ type: 'direct', to: 'Ada Lovelace', text: 'lunch at noon?' });
  await until(async () => (await ada.locator('#rooms .badge').count()) === 3, () => 'not all badges');
  await ada.getByRole('button', { name: '2 🎉, Ben, Ada Lovelace' }).waitFor();
  await ada.locator('#title').hover();
  await field(ada).focus();
  await shoot(ada, 'chat.png');
  await looksAsBefore(ada, 'desktop', 'chat.png');
  await ada.emulateMedia({ colorScheme: 'dark' });
  await shoot(ada, 'dark.png');
  await looksAsBefore(ada, 'dark', 'pictures/dark.png');
  await ada.emulateMedia({ colorScheme: 'light' });
  await ada.keyboard.press('F2');
  await shoot(ada.locator('#frames'), 'frames.png');
  const onPhone = { viewport: PHONE, deviceScaleFactor: 1.25, isMobile: true, hasTouch: true, colorScheme: 'dark' };
  const phone = await chat.open(`?token=${chat.token('Dora')}`, onPhone);
  await until(async () => (await bodies(phone)).length === 6, () => 'not all messages');
  await shoot(phone, 'chat-phone.png');
  await looksAsBefore(phone, 'phone', 'chat-phone.png');
  const arabic = await chat.open(`?token=${chat.token('محمد')}`, { viewport, locale: 'ar-EG' });
  await post(ben, 'general', 'مرحبا @محمد');
  await message(arabic, 'مرحبا').waitFor();
  await isConnected(arabic);
  await shoot(arabic, 'arabic.png');
  await looksAsBefore(arabic, 'arabic', 'pictures/arabic.png');
  noComplaints(ada, phone, arabic);
});
