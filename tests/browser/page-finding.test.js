// Finding messages, rooms and people; what moderators may do; notifications; the developer's panel.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, enter, field, lines, message, noComplaints, openMenu, say, sees, shows, titled } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

const query = (page) => page.getByLabel('Search in this room');
const hits = (page) => page.locator('#found-list .body').allTextContents();

test('a search as one types marks what it finds, shows what was said around it, and leads there by keyboard', async () => {
  const texts = ['the café opens', 'a red door', 'Cafes close', 'caf', 'decaffeinated', '今天的会议是几点', 'end'];
  chat = await Chat.start(browser, { lines: lines('general', texts.length, (i) => texts[i - 1]) });
  const page = await chat.guest('Reader');
  await until(async () => (await bodies(page)).length === texts.length, () => 'no history');
  await field(page).focus();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('cafe');
  await shows(page, () => hits(page), ['Cafes close', 'the café opens']);
  await shows(page, () => page.locator('#found-list mark').allTextContents(), ['Cafe', 'café']);
  const around = () => page.locator('#found-list li').last().locator('.context').allTextContents();
  await shows(page, around, ['Ada: a red door']);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.locator('.message.found', { hasText: 'the café opens' }).waitFor();
  assert.ok(await page.locator('#found').isHidden());
  // What was looked for is offered again.
  await page.locator('#log').focus();
  await page.keyboard.press('/');
  await shows(page, () => page.locator('#found-places .hit').allTextContents(), ['cafe']);
  await page.keyboard.type('会议');
  await shows(page, () => page.locator('#found-list mark').allTextContents(), ['会议']);
  await page.keyboard.press('Escape');
  assert.ok(await page.locator('#found').isHidden());
  // The one key can be turned off; a slash in a text is a slash.
  await field(page).press('/');
  assert.equal(await field(page).inputValue(), '/');
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByLabel('Shortcuts of a single key').uncheck();
  await page.getByRole('button', { name: 'Done' }).click();
  await page.locator('#log').focus();
  await page.keyboard.press('/');
  assert.ok(await page.locator('#log').evaluate((log) => log === document.activeElement));
  noComplaints(page);
});

test('the search leads to rooms and people by their names, and rooms one has left are offered again', async () => {
  chat = await Chat.start(browser);
  const [page, ben] = [await chat.guest('Ada'), await chat.guest('Ben')];
  await enter(page, 'garden');
  await titled(page, '# garden');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('gene');
  await page.locator('#found-places .hit', { hasText: '# general' }).waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await titled(page, '# general');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('ben');
  await page.locator('#found-places .hit', { hasText: '@Ben' }).click();
  await titled(page, '@Ben');
  await say(page, 'between us');
  await sees(page, 'between us');
  await page.locator('#rooms').getByRole('button', { name: 'Leave garden' }).click();
  await shows(page, () => page.locator('#known-rooms option').evaluateAll((all) => all.map((one) => one.value)), ['garden']);
  noComplaints(page, ben);
});

test('rooms that one may join are looked through, found by their names, and joined from there', async () => {
  const rooms = ['garden', 'garage', 'tea', ...Array.from({ length: 60 }, (_, i) => `room-${String(i).padStart(2, '0')}`)];
  chat = await Chat.start(browser, { lines: rooms.map((room, i) => ({ room, seq: 1, time: 1.7e12 + i, user: 'Ada', client: 'c1', text: 'x' })) });
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'tea' });
  const page = await chat.guest('Ada');
  const dialog = page.getByRole('dialog', { name: 'Browse rooms' });
  const shown = () => dialog.locator('.room-row .room-name').allTextContents();
  await page.getByRole('button', { name: 'Browse rooms' }).click();
  await until(async () => (await shown()).length === 50, () => 'not a page of rooms');
  assert.deepEqual((await shown()).slice(0, 4), ['# garage', '# garden', '# general', '# room-00']);
  assert.match(await dialog.locator('.room-row', { hasText: 'general' }).textContent(), /joined.*1 person here · nothing said yet/);
  assert.match(await dialog.locator('.room-row', { hasText: 'garden' }).textContent(), /nobody here · last message: /);
  // The others, without those that are there already.
  await dialog.getByRole('button', { name: 'More rooms' }).click();
  await until(async () => (await shown()).length === 64, () => 'not all rooms');
  assert.deepEqual([(await shown()).at(-1), new Set(await shown()).size], ['# tea', 64]);
  assert.match(await dialog.locator('.room-row', { hasText: '# tea' }).textContent(), /1 person here/);
  assert.ok(await dialog.getByRole('button', { name: 'More rooms' }).isHidden());
  await page.getByLabel('Find a room').fill('x');
  await page.keyboard.press('Escape');
  assert.ok(await dialog.isHidden());
  await page.getByRole('button', { name: 'Browse rooms' }).click();
  await page.keyboard.press('Control+k');
  assert.deepEqual([await dialog.isHidden(), await query(page).evaluate((one) => one === document.activeElement)], [true, true]);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Browse rooms' }).click();
  await page.getByLabel('Find a room').fill('GAR');
  await shows(page, shown, ['# garage', '# garden']);
  await page.keyboard.press('ArrowDown');
  // The name that was typed may be that of a new room.
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Make the room # GAR');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await titled(page, '# garden');
  await sees(page, 'x');
  await page.getByRole('button', { name: 'Browse rooms' }).click();
  await page.getByLabel('Find a room').fill('nowhere');
  await dialog.getByText('No room has a name that begins like this.').waitFor();
  await page.keyboard.press('Enter');
  await titled(page, '# nowhere');
  assert.ok(await dialog.isHidden());
  // Ctrl+K leads to rooms that one is not in.
  await page.keyboard.press('Control+k');
  await page.keyboard.type('te');
  await page.locator('#found-places .hit', { hasText: '# tea' }).click();
  await titled(page, '# tea');
  noComplaints(page);
});

test('rooms that the token does not permit are shown nowhere, and neither is the list of a server that keeps it', async () => {
  chat = await Chat.start(browser, { args: ['--no-room-list'] });
  const page = await chat.guest('Ada');
  assert.ok(await page.getByRole('button', { name: 'Browse rooms', includeHidden: true }).isHidden());
  await page.keyboard.press('Control+k');
  await page.keyboard.type('gen');
  await page.locator('#found-places .hit', { hasText: '# general' }).waitFor();
  noComplaints(page);
  await chat.stop();
  chat = await Chat.start(browser, { lines: ['secret', 'team-a', 'team-b'].map((room) => lines(room, 1)[0]) });
  const token = chat.token('Ada', '--room', 'general:join', '--room', 'team-*:join,post');
  const member = await chat.open(`?token=${token}`);
  await member.getByRole('button', { name: 'Browse rooms' }).click();
  await shows(member, () => member.locator('.room-row .room-name').allTextContents(), ['# general', '# team-a', '# team-b']);
  await member.keyboard.press('Escape');
  // Where one may only read, the field says so.
  await member.getByPlaceholder('You may read here, not write.').waitFor();
  assert.equal(await field(member).getAttribute('readonly'), '');
  await member.getByRole('button', { name: 'Browse rooms' }).click();
  await member.locator('.room-row', { hasText: 'team-a' }).getByRole('button').click();
  await titled(member, '# team-a');
  await member.getByPlaceholder('Message as Ada').waitFor();
  await say(member, 'hello');
  await sees(member, 'line 1', 'hello');
  noComplaints(member);
});

test('a moderator removes, bans and deletes, and nobody else is shown how', async () => {
  chat = await Chat.start(browser);
  const mint = (name, ...rooms) => chat.token(name, ...rooms.flatMap((room) => ['--room', room]));
  const [mod, all, ben, eve] = [
    await chat.open(`?token=${mint('Mo', '*:join,post', 'general:moderate')}`),
    await chat.open(`?token=${mint('Ada', '*:join,post,moderate')}`),
    await chat.guest('Ben'), await chat.guest('Eve'),
  ];
  await say(ben, 'spam');
  for (const page of [mod, all, eve]) await message(page, 'spam').waitFor();
  const choices = async (page) => {
    await openMenu(page, 'spam');
    const names = await page.locator('.menu .actions button').allTextContents();
    await page.keyboard.press('Escape');
    return names;
  };
  assert.deepEqual(await choices(eve), ['Reply', 'Copy link']);
  assert.deepEqual(await choices(mod), ['Reply', 'Copy link', 'Delete', 'Remove from the room']);
  assert.deepEqual(await choices(all), ['Reply', 'Copy link', 'Delete', 'Remove from the room', 'Ban']);
  assert.equal(await eve.locator('#people .tools').count(), 0);
  await openMenu(mod, 'spam');
  await mod.getByRole('button', { name: 'Delete', exact: true }).click();
  await sees(ben, 'Deleted');
  // From the list of people, with a reason, and only after a question.
  const inList = (page, name) => page.locator('#people li', { hasText: name });
  await inList(mod, 'Eve').locator('summary').click();
  await mod.locator('.menu').getByRole('button', { name: 'Remove from the room' }).click();
  await mod.getByRole('button', { name: 'Cancel' }).last().click();
  assert.equal(await inList(mod, 'Eve').count(), 1);
  await inList(mod, 'Eve').locator('summary').click();
  await mod.locator('.menu').getByRole('button', { name: 'Remove from the room' }).click();
  await mod.getByLabel('Reason').fill('too loud');
  await mod.locator('#moderate-do').click();
  await eve.getByText('You were removed from general: too loud').waitFor();
  await mod.getByText('Eve was removed.').waitFor();
  await inList(all, 'Ben').locator('summary').click();
  await all.locator('.menu').getByRole('button', { name: 'Ban' }).click();
  await all.getByLabel('For how long').selectOption({ label: 'A day' });
  await all.locator('#moderate-do').click();
  await ben.getByText(/You are banned from this server until/).waitFor();
  noComplaints(mod, all);
});

test('notifications are asked for after the first that was missed, and lead to what they are about', async () => {
  chat = await Chat.start(browser);
  const page = await chat.open('', {
    before: (tab) => tab.addInitScript(() => {
      localStorage.setItem('switchboard.user', 'Ada');
      window.notified = [];
      window.permission = 'default';
      window.Notification = class extends EventTarget {
        static get permission() { return window.permission; }
        static requestPermission() { window.permission = 'granted'; return Promise.resolve('granted'); }
        constructor(title, { body }) {
          super();
          window.notified.push({ title, body, click: () => this.dispatchEvent(new Event('click')) });
        }
        close() {}
      };
    }),
  });
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  const post = (text) => ben.say({ type: 'post', room: 'general', text });
  const offer = page.getByText('Be told of mentions and direct messages');
  const away = (isAway) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, value: hidden ? 'hidden' : 'visible' });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isAway);
  await post('hello @Ada');
  await message(page, 'hello').waitFor();
  assert.equal(await offer.count(), 0, 'the person is here');
  await away(true);
  await post('nothing for anybody');
  await message(page, 'nothing').waitFor();
  assert.equal(await offer.count(), 0);
  await post('@ada, look');
  await offer.waitFor();
  await away(false);
  await page.getByRole('button', { name: 'Turn on' }).click();
  assert.equal(await offer.count(), 0);
  await enter(page, 'garden');
  await titled(page, '# garden');
  await away(true);
  await post('and @Ada again');
  await until(async () => (await page.evaluate(() => window.notified.length)) === 1, () => 'nothing was shown');
  assert.deepEqual(await page.evaluate(() => window.notified.map(({ title, body }) => [title, body])), [['Ben mentions you in # general', 'and @Ada again']]);
  await page.evaluate(() => window.notified[0].click());
  await titled(page, '# general');
  await ben.say({ type: 'direct', to: 'Ada', text: 'psst' });
  await until(async () => (await page.evaluate(() => window.notified.at(-1).title)) === 'Ben writes to you', () => 'nothing was shown');
  noComplaints(page);
});

test('the developer’s panel shows the frames of both directions, with their meaning and without the token', async () => {
  chat = await Chat.start(browser);
  const page = await chat.signedIn('Ada');
  const panel = page.locator('#frames');
  assert.ok(await panel.isHidden());
  await page.keyboard.press('F2');
  const types = async () => (await panel.locator('.frame b').allTextContents()).slice(0, 2);
  await shows(page, types, ['hello', 'welcome']);
  assert.doesNotMatch(await panel.textContent(), /eyJ/, 'a token');
  await say(page, 'seen in frames');
  const post = panel.locator('.frame.out', { hasText: 'seen in frames' });
  await post.locator('summary').click();
  await post.getByText('Says something. With the same').waitFor();
  assert.match(await post.locator('pre').textContent(), /"type": "post"/);
  const received = panel.locator('.frame.in', { hasText: 'seen in frames' });
  assert.equal(await received.getByRole('img', { name: 'received' }).count(), 1);
  await page.getByRole('button', { name: 'Clear' }).click();
  await shows(page, () => panel.locator('.frame').count(), 0);
  await page.keyboard.press('F2');
  assert.ok(await panel.isHidden());
  // Every kind of message has a meaning.
  const missing = await page.evaluate(async () => {
    const { default: words } = await import('/words.en.js');
    const types = ['hello', 'join', 'leave', 'post', 'edit', 'delete', 'react', 'history', 'conversations', 'rooms', 'search', 'who', 'typing', 'read', 'direct',
      'kick', 'ban', 'ping', 'welcome', 'joined', 'left', 'ack', 'pong', 'found', 'members', 'error', 'message', 'edited', 'deleted', 'reacted',
      'presence', 'reads', 'broadcast', 'kicked', 'lagged', 'bye'];
    return types.filter((type) => !words[`frame_${type}`]);
  });
  assert.deepEqual(missing, []);
  noComplaints(page);
});

test('a server that answers slowly is said to do so, and a lost connection tells what was missed', async () => {
  chat = await Chat.start(browser, { isKept: true });
  const page = await chat.guest('Ada');
  let isSlow = true;
  const waiting = [];
  await page.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    upstream.onMessage((text) => {
      const send = () => client.send(text);
      if (isSlow && JSON.parse(text).type === 'ack') waiting.push(send);
      else send();
    });
  });
  await page.reload();
  await page.locator('#status[data-state=open]').waitFor();
  await say(page, 'slowly');
  await page.locator('#status[data-why=slow]').waitFor();
  await page.getByText('the server answers slowly').waitFor();
  isSlow = false;
  for (const send of waiting) send();
  await page.locator('#status[data-why=open]').waitFor();
  await sees(page, 'slowly');
  let isAway = true;
  await page.routeWebSocket('**/ws', (socket) => (isAway ? socket.close() : socket.connectToServer()));
  await chat.server.stop();
  await chat.server.start();
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  for (const text of ['one', 'two']) await ben.say({ type: 'post', room: 'general', text });
  isAway = false;
  await sees(page, 'slowly', 'one', 'two');
  await page.getByText('Connected again. 2 messages came meanwhile.').waitFor();
  assert.equal(await page.locator('#messages .new-line').count(), 1);
});
