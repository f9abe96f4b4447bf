// Reading: who said it and on which day, what is new, and where one was.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, enter, isAtRest, isConnected, lines, message, noComplaints, say, sees, shows, titled } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

const HOUR = 3_600_000;

/** Lines for `import` out of [user, hours ago, minutes later]. */
const said = (list) => list.map(([user, hours, minutes = 0], i) => ({
  room: 'general', seq: i + 1, time: noon() - hours * HOUR + minutes * 60_000, user, client: 'c1', text: `line ${i + 1}`,
}));

/** Of a day that is over, so that no test runs across the end of one. */
function noon() {
  const at = new Date(Date.now() - 24 * HOUR);
  return at.setHours(12, 0, 0, 0);
}

const hide = (page, isHidden) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'visibilityState', { configurable: true, value: hidden ? 'hidden' : 'visible' });
  document.dispatchEvent(new Event('visibilitychange'));
}, isHidden);

test('messages of one person within five minutes stand under one name, and days apart', async () => {
  chat = await Chat.start(browser, {
    lines: said([['Ada', 48], ['Ada', 48, 4], ['Ada', 48, 10], ['Ben', 48, 11], ['Ada', 24], ['Ada', 0], ['Ada', 0, 1]]),
  });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).length === 7, () => 'no history');
  const rows = await page.locator('#messages .message').evaluateAll((items) => items.map((item) => [
    item.classList.contains('follows'), item.querySelector('.day time')?.textContent ?? '',
  ]));
  assert.deepEqual(rows.map(([follows]) => follows), [false, true, false, false, false, false, true]);
  assert.deepEqual(rows.map(([, day]) => day !== ''), [true, false, false, false, true, true, false]);
  assert.equal(rows[5][1], 'Yesterday');
  assert.match(rows[0][1], /day, .*\d/);
  // Each message says who wrote it to those who do not see.
  assert.equal(await page.locator('#messages .follows .author').first().textContent(), 'Ada');
  noComplaints(page);
});

test('what came while one was away has a line above it that stays while one reads', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Reader');
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  const post = (text) => ben.say({ type: 'post', room: 'general', text });
  await post('seen');
  await sees(page, 'seen');
  await hide(page, true);
  await post('one');
  await post('two');
  await sees(page, 'seen', 'one', 'two');
  assert.match(await page.title(), /^\(2\)/);
  await hide(page, false);
  const line = page.locator('#messages .new-line');
  const below = () => line.evaluateAll((all) => all.map((one) => one.closest('.message').querySelector('.body').textContent));
  await shows(page, below, ['one']);
  await shows(page, () => page.title(), 'Switchboard');
  await post('three');
  await sees(page, 'seen', 'one', 'two', 'three');
  assert.deepEqual(await below(), ['one']);
  // Whoever answers has read it.
  await say(page, 'mine');
  await shows(page, below, []);
  noComplaints(page);
});

test('what came since the last visit is new, also for a guest, and a button leads there', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 20), args: ['--posts-per-second', '0'] });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).length === 20, () => 'no history');
  await page.waitForFunction(() => localStorage.getItem('switchboard.read')?.includes('20'));
  await page.goto(`${chat.url}config.json`);
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  for (let i = 0; i < 150; i += 1) await ben.say({ type: 'post', room: 'general', text: `new ${i}` });
  await page.goto(chat.url);
  await isConnected(page);
  await until(async () => (await bodies(page)).at(-1) === 'new 149', () => 'no history');
  const jump = page.getByRole('button', { name: '150 new since you were away' });
  await jump.click();
  await page.locator('.message.found', { hasText: 'new 0' }).waitFor();
  assert.equal(await page.locator('#messages .new-line').count(), 1);
  assert.equal(await message(page, 'new 0').first().locator('.new-line').count(), 1);
  await until(async () => (await page.locator('#jump-bar').isHidden()), () => 'the button stays');
});

test('a room with something new shows where it begins, and forgets it when one leaves', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Reader');
  await enter(page, 'garden');
  await titled(page, '# garden');
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  await ben.say({ type: 'post', room: 'general', text: 'for @Reader' });
  const general = page.locator('#rooms li', { hasText: 'general' });
  await general.locator('.badge.loud').waitFor();
  assert.equal(await general.getByRole('img', { name: 'mentions you' }).count(), 1);
  await general.getByRole('button').first().click();
  await sees(page, 'for @Reader');
  assert.equal(await page.locator('#messages .new-line').count(), 1);
  assert.equal(await page.locator('#messages .mention.me').textContent(), '@Reader');
  await page.locator('#rooms li', { hasText: 'garden' }).getByRole('button').first().click();
  await general.getByRole('button').first().click();
  await sees(page, 'for @Reader');
  assert.equal(await page.locator('#messages .new-line').count(), 0);
  noComplaints(page);
});

test('the address of a message is under its time and in its menu', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 3) });
  const page = await chat.guest('Reader', { permissions: ['clipboard-read', 'clipboard-write'] });
  await until(async () => (await bodies(page)).length === 3, () => 'no history');
  assert.equal(await message(page, 'line 2').locator('a.when').getAttribute('href'), '#general/2');
  await message(page, 'line 2').hover();
  await message(page, 'line 2').locator('summary').click();
  await page.getByRole('button', { name: 'Copy link' }).click();
  await page.getByText('The address of the message is copied.').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `${chat.url}#general/2`);
  await page.evaluate(() => { location.hash = '#general/2'; });
  await page.locator('.message.found', { hasText: 'line 2' }).waitFor();
  noComplaints(page);
});

test('who has seen the newest message is told, and the header never moves', async () => {
  chat = await Chat.start(browser);
  const [ada, ben] = [await chat.guest('Ada'), await chat.guest('Ben')];
  const header = () => ada.locator('header').evaluate((one) => [...one.children].map((child) => Math.round(child.getBoundingClientRect().left)).join());
  const places = await header();
  await say(ada, 'hello');
  await sees(ben, 'hello');
  await ada.getByText('Read by Ben').waitFor();
  // From here on the browser reports that nobody answers.
  noComplaints(ada, ben);
  await chat.server.stop();
  await ada.locator('#status[data-state=closed]').waitFor();
  assert.equal(await header(), places);
  assert.ok(await ada.locator('#status-text').isVisible());
  await isAtRest(ada);
});
