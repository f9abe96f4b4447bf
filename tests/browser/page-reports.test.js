// Faults that people reported of other chat pages, tried on this one. Each names the report.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, eye, field, isAtRest, isConnected, lines, noComplaints, say, sees, shows, stays } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

const hide = (page, isHidden) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'visibilityState', { configurable: true, value: hidden ? 'hidden' : 'visible' });
  document.dispatchEvent(new Event('visibilitychange'));
}, isHidden);

test('addresses with underscores and brackets are whole, and no part of them is italic (element-web 18815, github/markup 980)', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const addresses = [
    'https://a.example/Undiscord_-_Delete_all_messages_in_a_channel_or_DM_(Bulk_deletion)', 'https://play.example/p/vhIPYQjX8_',
    'https://a.example/_foo_/bar', 'https://a.example/Product.aspx?Item=N82&cm_re=m65-_-26-_-Product', 'https://a.example/a*b*c',
  ];
  await say(page, addresses.map((address) => `see ${address}, or (${address})`).join('\n'));
  const links = page.locator('#messages .body a');
  await shows(page, () => links.allTextContents(), addresses.flatMap((address) => [address, address]));
  assert.equal(await page.locator('#messages .body em').count(), 0);
  noComplaints(page);
});

test('the longest name that fits is mentioned (mattermost 10530), and names with blanks are found (mattermost 13328)', async () => {
  chat = await Chat.start(browser);
  const [page, ...others] = [await chat.guest('Reader'), await chat.guest('all'), await chat.guest('allan'), await chat.guest('Jan Aaa')];
  await shows(page, () => page.locator('#people .author').count(), 4);
  await field(page).pressSequentially('@allan and @all and @jan a');
  await shows(page, () => page.locator('#suggestions [role=option]').allTextContents(), ['Jan Aaa']);
  await field(page).press('Enter');
  await field(page).press('Enter');
  await shows(page, () => page.locator('#messages .mention').allTextContents(), ['@allan', '@all', '@Jan Aaa']);
  noComplaints(page, ...others);
});

test('times, addresses and smileys are no names of emojis (mikoto 727), and a whole name needs no list (element-web 7256)', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const options = page.locator('#suggestions [role=option]');
  for (const text of ['10:30', 'http://', ':D', ':)', ':-)', 'a:smile', '::', 'C:\\te']) {
    await field(page).fill('');
    await field(page).pressSequentially(text);
    assert.equal(await options.count(), 0, text);
    assert.equal(await field(page).inputValue(), text);
  }
  await field(page).fill('');
  await field(page).pressSequentially(':grinning:');
  await field(page).press('Enter');
  await sees(page, '😀');
  noComplaints(page);
});

test('what one says oneself, elsewhere too, is never new, and there is one line at most (spreed 15683, Expensify 2849)', async () => {
  chat = await Chat.start(browser);
  const page = await chat.signedIn('Ada');
  const [mine, ben] = [await chat.client({ token: chat.token('Ada') }), await chat.client({ user: 'Ben' })];
  for (const client of [mine, ben]) await client.say({ type: 'join', room: 'general' });
  const line = page.locator('#messages .new-line');
  await hide(page, true);
  await mine.say({ type: 'post', room: 'general', text: 'from my phone' });
  await sees(page, 'from my phone');
  assert.equal(await line.count(), 0);
  assert.equal(await page.title(), 'Switchboard');
  for (const text of ['one', 'two']) await ben.say({ type: 'post', room: 'general', text });
  await sees(page, 'from my phone', 'one', 'two');
  await hide(page, false);
  await hide(page, true);
  await ben.say({ type: 'post', room: 'general', text: 'three' });
  await sees(page, 'from my phone', 'one', 'two', 'three');
  await hide(page, false);
  await shows(page, () => line.evaluateAll((all) => all.map((one) => one.closest('.message').querySelector('.body').textContent)), ['three']);
  noComplaints(page);
});

test('what is read does not move when the line of what is new goes (Fermi 257)', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 60), args: ['--posts-per-second', '0'] });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).at(-1) === 'line 60', () => 'no history');
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  await hide(page, true);
  for (let i = 0; i < 60; i += 1) await ben.say({ type: 'post', room: 'general', text: `new ${i}` });
  await until(async () => (await bodies(page)).at(-1) === 'new 59', () => 'not all');
  await hide(page, false);
  await page.locator('#log').hover();
  await page.mouse.wheel(0, -200);
  await isAtRest(page);
  const before = await eye(page);
  await page.getByRole('button', { name: 'Mark as read' }).click();
  await until(async () => (await page.locator('#messages .new-line').count()) === 0, () => 'it stays');
  await stays(page, before);
  noComplaints(page);
});

test('who scrolls on while older messages are under way is not taken back (bb 2427, element-web 2646)', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 300) });
  const page = await chat.guest('Reader');
  const late = [];
  await page.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    upstream.onMessage((text) => {
      if (JSON.parse(text).type === 'history') late.push(() => client.send(text));
      else client.send(text);
    });
  });
  await page.reload();
  await isConnected(page);
  await until(async () => (await bodies(page)).at(-1) === 'line 300', () => 'no history');
  await page.locator('#log').hover();
  for (let i = 0; i < 30 && late.length === 0; i += 1) {
    await page.mouse.wheel(0, -300);
    await isAtRest(page);
  }
  assert.equal(late.length, 1, 'nothing was asked for');
  await page.mouse.wheel(0, -150);
  await isAtRest(page);
  const before = await eye(page);
  late.shift()();
  await until(async () => (await bodies(page)).length > 60, () => 'nothing older came');
  await isAtRest(page);
  await stays(page, before);
  noComplaints(page);
});

test('a text that is being composed opens no list, and the keys of the list are its own (element-web 23254)', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const options = page.locator('#suggestions [role=option]');
  await field(page).pressSequentially(':smil');
  await options.first().waitFor();
  // Enter that ends a composition neither chooses nor sends.
  await field(page).evaluate((text) => {
    text.dispatchEvent(new CompositionEvent('compositionstart', { bubbles: true }));
    text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, isComposing: true, keyCode: 229 }));
  });
  assert.equal(await field(page).inputValue(), ':smil');
  assert.ok(await options.first().isVisible());
  await field(page).evaluate((text) => text.dispatchEvent(new CompositionEvent('compositionend', { bubbles: true })));
  assert.ok(await options.first().isVisible());
  await field(page).press('Tab');
  assert.equal(await field(page).inputValue(), '😀 ');
  assert.deepEqual(await bodies(page), []);
  noComplaints(page);
});
