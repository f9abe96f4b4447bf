// What the page says about its connection is true, and what it says about errors ends with them.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Chat, enter, field, isConnected, message, Network, noComplaints, openMenu, say, sees, titled } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;
let network;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(async () => {
  network?.close();
  network = undefined;
  await chat?.stop();
});

const status = (page) => page.locator('#status');
const why = (page) => status(page).getAttribute('data-why');
const notice = (page) => page.locator('#notice').textContent();
const isLost = (page) => page.locator('#status[data-state=closed]').waitFor({ timeout: 15_000 });
const comesBack = (page) => page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));

test('a network that falls silent is noticed after a heartbeat, and what was missed is there when it is back', async () => {
  chat = await Chat.start(browser, { args: ['--ping-interval', '1000'] });
  network = await Network.before(chat.port);
  const page = await chat.guest('Ada', { url: network.url });
  await say(page, 'before');
  await sees(page, 'before');
  network.fallSilent();
  await isLost(page);
  assert.match(await status(page).textContent(), /Not connected|Connecting/);
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  await ben.say({ type: 'post', room: 'general', text: 'meanwhile' });
  await say(page, 'written offline');
  network.comeBack();
  await isConnected(page);
  await sees(page, 'before', 'meanwhile', 'written offline');
});

for (const [name, back] of [
  ['visible', comesBack],
  ['online', (page) => page.evaluate(() => dispatchEvent(new Event('online')))],
  ['shown again', (page) => page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))],
]) {
  test(`a page that is ${name} finds out within seconds whether its connection is alive`, async () => {
    chat = await Chat.start(browser);
    network = await Network.before(chat.port);
    const page = await chat.guest('Ada', { url: network.url });
    network.fallSilent();
    await page.waitForTimeout(500);
    assert.equal(await status(page).textContent(), 'Connected');
    await back(page);
    await isLost(page);
    const ben = await chat.client({ user: 'Ben' });
    await ben.say({ type: 'join', room: 'general' });
    await ben.say({ type: 'post', room: 'general', text: 'missed' });
    network.comeBack();
    await back(page);
    await isConnected(page);
    await sees(page, 'missed');
  });
}

test('an attempt that hangs is given up when the person comes back', async () => {
  chat = await Chat.start(browser, { args: ['--ping-interval', '500'] });
  network = await Network.before(chat.port);
  const page = await chat.guest('Ada', { url: network.url });
  // From here on every attempt is counted.
  await page.evaluate(() => {
    window.attempts = 0;
    window.WebSocket = class extends WebSocket {
      constructor(...args) {
        window.attempts += 1;
        super(...args);
      }
    };
  });
  network.fallSilent();
  await isLost(page);
  await page.locator('#status[data-why=connecting]').waitFor();
  network.comeBack();
  // At first it is young, and is left alone.
  await until(() => page.evaluate(() => {
    const isConnecting = document.querySelector('#status').dataset.why === 'connecting';
    const before = window.attempts;
    document.dispatchEvent(new Event('visibilitychange'));
    return isConnecting && window.attempts === before + 1;
  }), () => 'the attempt is not given up');
  await isConnected(page);
});

test('a live connection stays when the person comes back', async () => {
  chat = await Chat.start(browser, { args: ['--ping-interval', '500'] });
  const sockets = [];
  const page = await chat.guest('Ada');
  page.on('websocket', (socket) => sockets.push(socket));
  for (let i = 0; i < 5; i += 1) {
    await comesBack(page);
    await page.waitForTimeout(700);
  }
  assert.equal(await status(page).textContent(), 'Connected');
  assert.deepEqual(sockets, []);
  noComplaints(page);
});

test('while it waits the page counts down, and says that the server restarts', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await chat.server.stop('SIGTERM');
  await isLost(page);
  await until(async () => /Trying again in \d+ s\./.test(await page.locator('#status-line').textContent()), () => 'no count');
  await page.getByText('the server is restarting').waitFor();
  await chat.server.start();
  await isConnected(page);
});

test('a device without a network says so, and what the server says of its end is told', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await page.context().setOffline(true);
  await chat.server.stop();
  await page.getByText('this device is offline').waitFor();
  await page.context().setOffline(false);
  await chat.server.start();
  await isConnected(page);
});

test('a ban says until when, does not retry, and lets one come back under another name', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await chat.api('PUT', '/bans/Ada', { seconds: 3600, reason: 'spam' });
  await page.getByText(/You are banned from this server until .*\d\d?:\d\d/).waitFor();
  assert.equal(await why(page), 'banned');
  assert.doesNotMatch(await page.locator('header').textContent(), /retrying|Trying again/);
  await page.reload();
  await page.getByText(/You are banned from this server until/).waitFor();
  await page.getByRole('button', { name: 'Choose another name' }).click();
  await page.getByLabel('Your name').fill('Grace');
  await page.getByLabel('Your name').press('Enter');
  await isConnected(page);
  assert.equal(await notice(page), '');
});

test('a ban that ends lets one in again', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await chat.api('PUT', '/bans/Ada', { seconds: 4 });
  await page.getByText(/You are banned from this server/).waitFor();
  await isConnected(page);
  await say(page, 'back');
  await sees(page, 'back');
});

test('an error is gone with the next success, and says what it means to people', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await enter(page, 'garden');
  await titled(page, '# garden');
  await enter(page, 'a b c');
  await page.getByText('You cannot join a b c: the name of a room has no spaces.').waitFor();
  await titled(page, '# garden');
  assert.doesNotMatch(await notice(page), /`/);
  await enter(page, 'kitchen');
  await titled(page, '# kitchen');
  assert.equal(await notice(page), '');
  // An error of one kind ends with a success of another.
  await enter(page, 'a b c');
  await page.getByText('You cannot join').waitFor();
  await say(page, 'hello');
  await sees(page, 'hello');
  assert.equal(await notice(page), '');
  await enter(page, 'a b c');
  await page.getByText('You cannot join').waitFor();
  await openMenu(page, 'hello');
  await page.getByRole('button', { name: 'React with 👍' }).click();
  await message(page, 'hello').getByRole('button', { name: '👍, Ada' }).waitFor();
  assert.equal(await notice(page), '');
  await enter(page, 'a b c');
  await page.getByText('You cannot join').waitFor();
  await page.getByRole('button', { name: 'Close the notice' }).click();
  assert.equal(await notice(page), '');
});

test('a lost connection is no error that stays', async () => {
  chat = await Chat.start(browser, { isKept: true });
  const page = await chat.guest('Ada');
  await say(page, 'hello');
  await sees(page, 'hello');
  await chat.server.stop();
  await isLost(page);
  await openMenu(page, 'hello');
  await page.getByRole('button', { name: 'React with 👍' }).click();
  await page.getByText('Not connected.', { exact: true }).waitFor();
  await chat.server.start();
  await isConnected(page);
  await until(async () => (await notice(page)) === '', () => 'the notice stays');
});

test('an announcement looks like one, stays while one writes, and is put away by hand', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await chat.api('POST', '/broadcast', { text: 'The server moves at noon.' });
  const announcement = page.locator('.announcement', { hasText: 'The server moves at noon.' });
  await announcement.waitFor();
  const [red, green] = await announcement.locator('.announcement-body').evaluate((body) => getComputedStyle(body).color.match(/\d+/g).map(Number));
  assert.ok(red - green < 60, 'it is as red as an error');
  await field(page).pressSequentially('typing on');
  await field(page).press('Enter');
  await sees(page, 'typing on');
  assert.ok(await announcement.isVisible());
  await announcement.getByRole('button', { name: 'Put the announcement away' }).click();
  assert.equal(await announcement.count(), 0);
  noComplaints(page);
});
