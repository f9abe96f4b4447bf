// Reading back: the line that is read stays where it is, addresses lead to rooms and messages, and long histories stay light.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, enter, eye, field, isAtRest, lines, noComplaints, openMenu, say, sees, stays, titled } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

const atBottom = (page) => page.locator('#log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2);

async function wheel(page, by) {
  const box = await page.locator('#log').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.wheel(0, by);
  await isAtRest(page);
}

test('older messages come as one scrolls back, each once and in order', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 120) });
  const page = await chat.guest('Reader');
  const said = Array.from({ length: 120 }, (_, i) => `line ${i + 1}`);
  await sees(page, ...said.slice(-50));
  // As those do it who do not scroll; a log that is scrolled there asks by itself.
  await page.getByRole('button', { name: 'Older messages' }).dispatchEvent('click');
  await until(async () => (await bodies(page)).length >= 100, () => 'nothing older came');
  const some = await bodies(page);
  assert.deepEqual(some, said.slice(-some.length));
  await page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
  await sees(page, ...said);
  assert.ok(await page.getByRole('button', { name: 'Older messages' }).isHidden());
  noComplaints(page);
});

test('scrolling back with the wheel keeps the line that is read, over many pages of history', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 400) });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).at(-1) === 'line 400', () => 'no history');
  let lowest = Number((await eye(page)).text.slice(5));
  for (let i = 0; i < 400 && lowest > 1; i += 1) {
    await wheel(page, -300);
    const number = Number((await eye(page)).text.slice(5));
    assert.ok(number <= lowest && number >= lowest - 12, `from line ${lowest} to line ${number}`);
    lowest = number;
  }
  assert.equal(lowest, 1);
  // And forward again, to the newest.
  for (let i = 0; i < 500 && !(await atBottom(page)); i += 1) {
    await wheel(page, 400);
    const number = Number((await eye(page)).text.slice(5));
    assert.ok(number >= lowest && number <= lowest + 14, `from line ${lowest} to line ${number}`);
    lowest = number;
  }
  assert.equal((await bodies(page)).at(-1), 'line 400');
  noComplaints(page);
});

test('what is read stays in place while messages come, change and are reacted to', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 300), args: ['--posts-per-second', '0'] });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).at(-1) === 'line 300', () => 'no history');
  await wheel(page, -1500);
  const before = await eye(page);
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  for (let i = 0; i < 120; i += 1) await ben.say({ type: 'post', room: 'general', text: `new ${i}` });
  // Above and below the line that is read.
  const number = Number(before.text.slice(5));
  for (const seq of [number - 3, number + 3]) await ben.say({ type: 'react', room: 'general', seq: seq - (seq % 2), emoji: '🎉' });
  await page.getByRole('button', { name: 'New messages' }).waitFor();
  await until(async () => (await page.locator('#messages .chip').count()) === 2, () => 'no reactions');
  await isAtRest(page);
  await stays(page, before);
  await page.getByRole('button', { name: 'New messages' }).click();
  await until(async () => (await bodies(page)).at(-1) === 'new 119', () => 'not at the newest');
  await until(() => atBottom(page), () => 'not at the bottom');
  noComplaints(page);
});

test('scrolling back by touch keeps the line that is read', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 200) });
  const page = await chat.guest('Reader', { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  await until(async () => (await bodies(page)).at(-1) === 'line 200', () => 'no history');
  const session = await page.context().newCDPSession(page);
  let lowest = Number((await eye(page)).text.slice(5));
  for (let i = 0; i < 60 && lowest > 1; i += 1) {
    const touch = (type, ...points) => session.send('Input.dispatchTouchEvent', { type, touchPoints: points.map((y) => ({ x: 190, y })) });
    await touch('touchStart', 300);
    for (let y = 330; y <= 690; y += 30) await touch('touchMove', y);
    // The finger rests before it goes: without that the log would be thrown.
    await isAtRest(page);
    for (const y of [691, 690]) await touch('touchMove', y);
    await isAtRest(page);
    await touch('touchEnd');
    await isAtRest(page);
    const number = Number((await eye(page)).text.slice(5));
    assert.ok(number <= lowest && number >= lowest - 14, `from line ${lowest} to line ${number}`);
    lowest = number;
  }
  assert.equal(lowest, 1);
  noComplaints(page);
});

test('Home and End, and the top edge itself, keep the line, too', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 200) });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).at(-1) === 'line 200', () => 'no history');
  await page.locator('#log').focus();
  await page.keyboard.press('Home');
  await until(async () => (await bodies(page)).includes('line 101'), () => 'nothing older came');
  await isAtRest(page);
  assert.notEqual((await eye(page)).text, 'line 200');
  assert.equal(await atBottom(page), false);
  await page.keyboard.press('End');
  await until(() => atBottom(page), () => 'not at the bottom');
  noComplaints(page);
});

test('addresses that are no UTF-8, or no escapes at all, name rooms', async () => {
  chat = await Chat.start(browser);
  for (const [hash, title] of [['#100%', '# 100%'], ['#caf%E9', '# caf%e9'], ['#caf%C3%A9', '# café'], ['#%', '# %'], ['#a%2Fb', '# a/b']]) {
    const page = await chat.guest('Ada', { place: hash });
    await titled(page, title);
    await say(page, 'alive');
    await sees(page, 'alive');
    noComplaints(page);
    await page.context().close();
  }
});

test('a changed address opens its room, and Back goes to the room before', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await enter(page, 'garden');
  await titled(page, '# garden');
  await page.evaluate(() => { location.hash = '#kitchen'; });
  await titled(page, '# kitchen');
  await say(page, 'in the kitchen');
  await sees(page, 'in the kitchen');
  await page.evaluate(() => { location.hash = '#100%'; });
  await titled(page, '# 100%');
  await page.goBack();
  await titled(page, '# kitchen');
  await sees(page, 'in the kitchen');
  await page.goBack();
  await titled(page, '# garden');
  await page.goBack();
  await titled(page, '# general');
  await page.goForward();
  await titled(page, '# garden');
  assert.equal(new URL(page.url()).hash, '#garden');
  // The address of each step was that of its room.
  await page.goForward();
  await titled(page, '# kitchen');
  assert.equal(new URL(page.url()).hash, '#kitchen');
  noComplaints(page);
});

test('an address leads to a message, and so does a hit of the search, 30,000 messages back', async () => {
  const text = (i) => (i === 60 || i === 15_000 ? `needle ${i}` : `line ${i}`);
  chat = await Chat.start(browser, { lines: lines('general', 30_100, text) });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).at(-1) === 'line 30100', () => 'no history');
  await until(async () => {
    await page.getByLabel('Search in this room').fill('needle');
    await page.getByLabel('Search in this room').press('Enter');
    return (await page.locator('#found-list .body').allTextContents()).join() === 'needle 15000,needle 60';
  }, () => 'not found', 60_000);
  const asked = [];
  page.on('websocket', () => asked.push('another connection'));
  await page.locator('#found-list .hit').last().click();
  await page.locator('.message.found', { hasText: 'needle 60' }).waitFor();
  assert.ok((await bodies(page)).length <= 200);
  // One reads on from there, in both directions.
  await wheel(page, -6000);
  await until(async () => (await bodies(page)).includes('line 1'), () => 'not at the beginning');
  await until(async () => {
    await wheel(page, 1000);
    return Number((await eye(page)).text.slice(5)) > 150;
  }, () => 'cannot read on', 30_000);
  // What is said meanwhile does not move the reader, and is not lost.
  const before = await eye(page);
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  await ben.say({ type: 'post', room: 'general', text: 'now' });
  await page.waitForTimeout(200);
  await stays(page, before);
  await page.getByRole('button', { name: 'New messages' }).click();
  await until(async () => (await bodies(page)).at(-1) === 'now', () => 'not at the newest');
  await until(() => atBottom(page), () => 'not at the bottom');
  await page.goto(`${chat.url}#general/15000`);
  await page.locator('.message.found', { hasText: 'needle 15000' }).waitFor();
  const fresh = await chat.guest('Other', { place: '#general/60' });
  await fresh.locator('.message', { hasText: 'needle 60' }).waitFor();
  assert.deepEqual(asked, []);
  noComplaints(page, fresh);
});

test('an address leads to a message 120,000 messages back, from where one reads on in both directions', async () => {
  const count = 120_000;
  chat = await Chat.start(browser, { lines: lines('general', count) });
  const page = await chat.guest('Reader', { place: '#general/61' });
  const shownAt = (line) => page.locator('.message').filter({ has: page.locator('.body', { hasText: new RegExp(`^${line}$`) }) }).waitFor();
  await shownAt('line 61');
  const seen = await bodies(page);
  const first = Number(seen[0].slice(5));
  // Around the message, without a gap, and nothing of the newest.
  assert.deepEqual(seen, seen.map((_, i) => `line ${first + i}`));
  assert.ok(first < 61 && first + seen.length > 61 && first + seen.length < 1000, `${first}, ${seen.length}`);
  const reads = (line, key) => until(async () => {
    await page.keyboard.press(key);
    return (await bodies(page)).includes(line);
  }, () => `${line} does not come with ${key}`, 30_000);
  await page.locator('#log').focus();
  await reads('line 1', 'PageUp');
  await reads('line 150', 'PageDown');
  // From one end of the history to the other, and back by the address.
  await page.getByRole('button', { name: 'New messages' }).click();
  await page.locator('.message', { hasText: `line ${count}` }).waitFor();
  await page.evaluate(() => { location.hash = '#general/20000'; });
  await shownAt('line 20000');
  assert.deepEqual((await bodies(page)).filter((line) => /^line (1|120000)$/.test(line)), []);
  noComplaints(page);
});

test('a message that is not there is said not to be there', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 10) });
  const page = await chat.guest('Reader', { place: '#general/99' });
  await page.getByText('This message is not there any more.').waitFor();
  await until(async () => (await bodies(page)).length === 10, () => 'no history');
});

test('of thousands of messages in a tab the document holds some, and each new one is shown', async () => {
  chat = await Chat.start(browser, { args: ['--posts-per-second', '0'] });
  const page = await chat.guest('Reader');
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  const posts = 4_000;
  let seen = 0;
  for (let i = 0; i < posts; i += 1) {
    const answer = ben.say({ type: 'post', room: 'general', text: `post ${i}` });
    if (i % 50 === 49) await answer;
    if (i % 500 === 499) {
      await until(async () => (await bodies(page)).at(-1) === `post ${i}`, () => `post ${i} is not shown`, 30_000);
      const { length } = await bodies(page);
      assert.ok(length <= 200, `${length} messages in the document`);
      seen += 1;
    }
  }
  assert.equal(seen, posts / 500);
  // All are there for those who scroll.
  for (let i = 0; i < 60; i += 1) await wheel(page, -4000);
  await until(async () => Number((await bodies(page))[0].slice(5)) < 3_500, () => 'cannot scroll back');
  noComplaints(page);
});

test('Enter that ends a composition does not send, in either order of events', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const enterKey = (init) => field(page).evaluate((text, key) => {
    text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...key }));
  }, init);
  const compose = (type) => field(page).evaluate((text, name) => {
    text.dispatchEvent(new CompositionEvent(name, { bubbles: true, data: '会議' }));
  }, type);
  await field(page).fill('会議');
  // Chromium and Firefox: the key belongs to the composition.
  await compose('compositionstart');
  await enterKey({ isComposing: true, keyCode: 229 });
  await compose('compositionend');
  // Safari: the composition has ended when the key is told of.
  await compose('compositionstart');
  await field(page).evaluate((text) => {
    text.dispatchEvent(new CompositionEvent('compositionend', { bubbles: true, data: '会議' }));
    text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, keyCode: 229 }));
  });
  await field(page).evaluate((text) => {
    text.dispatchEvent(new CompositionEvent('compositionend', { bubbles: true, data: '会議' }));
    text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
  });
  await page.waitForTimeout(200);
  assert.deepEqual(await bodies(page), []);
  assert.equal(await field(page).inputValue(), '会議');
  await field(page).press('Enter');
  await sees(page, '会議');
  noComplaints(page);
});

test('the arrows go from message to message, with one stop of the Tab key for the whole log', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 20) });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).length === 20, () => 'no history');
  await page.locator('#log').focus();
  await page.keyboard.press('ArrowUp');
  const focused = () => page.evaluate(() => document.activeElement.querySelector('.body')?.textContent);
  assert.equal(await focused(), 'line 20');
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(), 'line 19');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'React with 👍' }).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('.menu').count(), 0);
  await page.locator('#log').focus();
  const stops = await page.locator('#messages').evaluate((list) => [...list.querySelectorAll('*')].filter((one) => one.tabIndex === 0).length);
  assert.ok(stops <= 1, `${stops} stops`);
  await openMenu(page, 'line 20');
  noComplaints(page);
});
