// Conversations of two: those that the server keeps are there, whatever happened while one was away.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, isConnected, noComplaints, roomNames, say, sees, shows } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

const badge = (page, name) => page.locator('#rooms li', { hasText: name }).locator('.badge').allTextContents();
const openConversation = (page, name) => page.locator('#rooms').getByRole('button', { name }).first().click();

for (const isKept of [false, true]) {
  const where = isKept ? 'on the disk' : 'in memory';

  test(`conversations ${where} are listed after a reload and in another browser, with what is unread`, async () => {
    chat = await Chat.start(browser, { isKept });
    const [ada, ben] = [await chat.signedIn('Ada'), await chat.signedIn('Ben')];
    await ada.getByRole('button', { name: 'Write to Ben' }).click();
    for (const text of ['one', 'two']) await say(ada, text);
    await sees(ada, 'one', 'two');
    await ada.reload();
    await isConnected(ada);
    await shows(ada, () => roomNames(ada), ['# general', '@Ben']);
    await sees(ada, 'one', 'two');
    const fresh = await chat.signedIn('Ben');
    await shows(fresh, () => roomNames(fresh), ['# general', '@Ada']);
    await shows(fresh, () => badge(fresh, '@Ada'), ['2 unread']);
    assert.match(await fresh.title(), /^\(2\)/);
    assert.equal(await fresh.locator('#rooms li', { hasText: '@Ada' }).locator('.verified').count(), 1);
    await openConversation(fresh, '@Ada');
    await sees(fresh, 'one', 'two');
    await shows(fresh, () => badge(fresh, '@Ada'), []);
    await say(fresh, 'three');
    await sees(ada, 'one', 'two', 'three');
    // What was read is read in the next browser, too, once the server has been told.
    const client = await chat.client({ token: chat.token('Ben') });
    await until(async () => (await client.say({ type: 'conversations' })).conversations[0].read === 3, () => 'not told of what was read');
    const later = await chat.signedIn('Ben');
    await shows(later, () => roomNames(later), ['# general', '@Ada']);
    await shows(later, () => badge(later, '@Ada'), []);
    noComplaints(ada, ben, fresh, later);
  });
}

test('what came while the connection was away is there when it is back, in order and once', async () => {
  chat = await Chat.start(browser, { isKept: true });
  const [ada, ben] = [await chat.signedIn('Ada'), await chat.client({ token: chat.token('Ben') })];
  await ben.say({ type: 'direct', to: 'Ada', text: 'one' });
  await openConversation(ada, '@Ben');
  await sees(ada, 'one');
  // The next connection of the page fails for a while.
  let isAway = true;
  await ada.routeWebSocket('**/ws', (socket) => (isAway ? socket.close() : socket.connectToServer()));
  await chat.server.stop();
  await chat.server.start();
  const again = await chat.client({ token: chat.token('Ben') });
  for (let i = 0; i < 120; i += 1) {
    let answer;
    do answer = await again.say({ type: 'direct', to: 'Ada', text: `away ${i}`, key: `k${i}` });
    while (answer.type === 'error' && (await new Promise((done) => { setTimeout(done, answer.retry_after_ms ?? 100, true); })));
  }
  isAway = false;
  await isConnected(ada);
  const expected = ['one', ...Array.from({ length: 120 }, (_, i) => `away ${i}`)];
  await shows(ada, () => bodies(ada), expected);
  await again.say({ type: 'direct', to: 'Ada', text: 'live' });
  await shows(ada, () => bodies(ada), [...expected, 'live']);
});

test('a long conversation is read back to its beginning', async () => {
  chat = await Chat.start(browser, { isKept: true, args: ['--posts-per-second', '0'] });
  const [ben, token] = [await chat.client({ token: chat.token('Ben') }), chat.token('Ada')];
  const ada = await chat.client({ token });
  for (let i = 0; i < 130; i += 1) await ben.say({ type: 'direct', to: 'Ada', text: `line ${i}` });
  ada.end();
  const page = await chat.signedIn('Ada');
  await openConversation(page, '@Ben');
  await until(async () => (await bodies(page)).at(-1) === 'line 129', () => 'not the newest');
  for (let i = 0; i < 60 && (await bodies(page))[0] !== 'line 0'; i += 1) {
    await page.locator('#log').hover();
    await page.mouse.wheel(0, -1500);
    await page.waitForTimeout(50);
  }
  assert.deepEqual(await bodies(page), Array.from({ length: 130 }, (_, i) => `line ${i}`));
  noComplaints(page);
});

test('an address names a conversation, in whatever case', async () => {
  chat = await Chat.start(browser, { isKept: true });
  const ben = await chat.client({ token: chat.token('Ben') });
  const ada = await chat.client({ token: chat.token('Ada') });
  await ben.say({ type: 'direct', to: 'Ada', text: 'hello' });
  ada.end();
  const page = await chat.signedIn('Ada', { place: '#@bEN' });
  await sees(page, 'hello');
  await shows(page, () => roomNames(page), ['# general', '@Ben']);
  noComplaints(page);
});

test('a conversation that one closes stays closed until something new comes', async () => {
  chat = await Chat.start(browser, { isKept: true });
  const ben = await chat.client({ token: chat.token('Ben') });
  const page = await chat.signedIn('Ada');
  await ben.say({ type: 'direct', to: 'Ada', text: 'hello' });
  await openConversation(page, '@Ben');
  await sees(page, 'hello');
  await page.getByRole('button', { name: 'Leave @Ben' }).click();
  await page.reload();
  await isConnected(page);
  await page.waitForTimeout(500);
  assert.deepEqual(await roomNames(page), ['# general']);
  await ben.say({ type: 'direct', to: 'Ada', text: 'again' });
  await shows(page, () => roomNames(page), ['# general', '@Ben']);
  await openConversation(page, '@Ben');
  await sees(page, 'hello', 'again');
  noComplaints(page);
});

test('a guest writes to a signed-in person, of which nothing is kept and nothing complains', async () => {
  chat = await Chat.start(browser, { isKept: true });
  const [ada, sam] = [await chat.signedIn('Ada'), await chat.guest('Sam')];
  await sam.getByRole('button', { name: 'Write to Ada' }).click();
  for (const text of ['one', 'two']) await say(sam, text);
  await sees(sam, 'one', 'two');
  await openConversation(ada, '@Sam');
  await sees(ada, 'one', 'two');
  await say(ada, 'three');
  await sees(sam, 'one', 'two', 'three');
  await sam.waitForTimeout(1_500);
  for (const page of [ada, sam]) assert.equal(await page.locator('#notice').textContent(), '');
  noComplaints(ada, sam);
});
