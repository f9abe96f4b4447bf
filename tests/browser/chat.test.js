// The chat page in a real browser. Names carry the ids of the behaviours they show.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { complaintsOf, freePort, launchBrowser, screenshots, Server, until } from './harness.js';

const RECONNECT_LIMIT_MS = 30_000;
const WIDE = { width: 1100, height: 680 };
const PHONE = { width: 390, height: 844 };

let browser;
let server;
let url;
let contexts;

before(async () => {
  browser = await launchBrowser();
});
after(() => browser?.close());

beforeEach(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/`;
  server = new Server(process.env.SWITCHBOARD_BIN, ['serve', '--listen', `127.0.0.1:${port}`, '--ephemeral'], port);
  contexts = [];
  await server.start();
});
afterEach(async () => {
  for (const context of contexts) await context.close();
  await server.stop();
});

/** A tab of a person of their own: other storage, so another name. */
async function tab(name, options = { viewport: WIDE }) {
  const context = await browser.newContext(options);
  contexts.push(context);
  return tabIn(context, name);
}

async function tabIn(context, name) {
  const page = await context.newPage();
  page.complaints = complaintsOf(page);
  await page.goto(url);
  await page.locator('#status[data-state=open]').waitFor();
  if (name) await call(page, name);
  return page;
}

/** Takes a name; on a phone the field is in the panel of the rooms. */
async function call(page, name) {
  const opener = page.locator('#rooms-button');
  if (await opener.isVisible()) await opener.click();
  await page.getByLabel('Your name').fill(name);
  await page.getByLabel('Your name').press('Enter');
  await page.locator(`#text[placeholder=${JSON.stringify(`Message as ${name}`)}]`).waitFor();
  await page.locator('#status[data-state=open]').waitFor();
  if (await opener.isVisible() && (await opener.getAttribute('aria-expanded')) === 'true') await opener.click();
}

async function enter(page, room) {
  await page.getByLabel('Room to join').fill(room);
  await page.getByRole('button', { name: 'Join', exact: true }).click();
  await page.getByRole('heading', { name: `# ${room}` }).waitFor();
}

const openRoom = (page, room) => page.locator('#rooms').getByRole('button', { name: new RegExp(`^(# )?${room}`) }).click();
const people = (page) => page.locator('#people li .author').allTextContents();

/** Opens what can be done with the message that says `text`, and does it. */
async function act(page, text, what) {
  const item = page.locator('#messages .message', { hasText: text });
  await item.hover();
  await item.locator('summary').click();
  await item.getByRole('button', { name: what }).click();
}

async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

const bodies = (page) => page.locator('#messages .body').allTextContents();

async function sees(page, ...texts) {
  let seen;
  await until(async () => {
    seen = await bodies(page);
    return JSON.stringify(seen) === JSON.stringify(texts);
  }, () => `expected ${JSON.stringify(texts)}, the page shows ${JSON.stringify(seen)}`, RECONNECT_LIMIT_MS);
}

const dotColour = (page) => page.locator('#status').evaluate((status) => getComputedStyle(status, '::before').backgroundColor);

async function dotIs(page, state, name) {
  await page.locator(`#status[data-state=${state}]`).waitFor({ timeout: RECONNECT_LIMIT_MS });
  const [red, green] = (await dotColour(page)).match(/\d+/g).map(Number);
  assert.equal(red > green ? 'red' : 'green', name);
}

const inView = (page, text) => page.locator('#messages').getByText(text, { exact: true }).evaluate((message) => {
  const { top, bottom } = message.getBoundingClientRect();
  const log = document.querySelector('#log').getBoundingClientRect();
  return top >= log.top && bottom <= log.bottom;
});

const noComplaints = (...pages) => assert.deepEqual(pages.flatMap((page) => page.complaints), []);

test('S24: the page, its modules and its style come from this server, under a policy without unsafe-inline', async () => {
  const context = await browser.newContext();
  contexts.push(context);
  const page = await context.newPage();
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  const complaints = complaintsOf(page);
  const response = await page.goto(url);
  const policy = response.headers()['content-security-policy'];
  assert.match(policy, /default-src '(none|self)'/);
  assert.doesNotMatch(policy, /unsafe/);
  assert.equal(response.headers()['x-content-type-options'], 'nosniff');
  await page.locator('#status[data-state=open]').waitFor();
  assert.deepEqual(asked.filter((address) => !address.startsWith(url)), []);
  assert.deepEqual(complaints, []);
});

test('S12, S44: what is said in one tab is seen in the other at once, and each tab marks its own', async () => {
  const [ada, ben] = [await tab('Ada'), await tab('Ben')];
  await say(ada, 'hello, Ben');
  await sees(ben, 'hello, Ben');
  await say(ben, 'hello, Ada');
  await sees(ada, 'hello, Ben', 'hello, Ada');
  await sees(ben, 'hello, Ben', 'hello, Ada');
  assert.deepEqual(await ada.locator('#messages .own .body').allTextContents(), ['hello, Ben']);
  assert.deepEqual(await ben.locator('#messages .own .body').allTextContents(), ['hello, Ada']);
  assert.match(await ben.locator('#messages time').first().getAttribute('datetime'), /^20\d\d-.*Z$/);
  noComplaints(ada, ben);
});

test('S9, S14: a reload shows what was said, and the name is remembered', async () => {
  const page = await tab('Ada');
  await say(page, 'still here?');
  await sees(page, 'still here?');
  await page.reload();
  await sees(page, 'still here?');
  assert.equal(await page.getByLabel('Your name').inputValue(), 'Ada');
  noComplaints(page);
});

test('S13: the newest message is at the bottom and in view, and who reads further up is told of new ones', async () => {
  const page = await tab('Ada');
  const said = Array.from({ length: 30 }, (_, i) => `line ${i}`);
  for (const line of said) await say(page, line);
  await sees(page, ...said);
  await until(() => inView(page, 'line 29'), () => 'the newest message is out of view');
  await page.getByLabel('Message', { exact: true }).fill('a\ntext\nof\nfive\nlines');
  await until(() => inView(page, 'line 29'), () => 'the growing field covers the newest message');
  await page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
  await say(await tab('Ben'), 'are you there?');
  await page.getByRole('button', { name: 'New messages' }).click();
  await until(() => inView(page, 'are you there?'), () => 'the button does not lead to the newest message');
  noComplaints(page);
});

test('S45: rooms are apart, and what is unread is counted', async () => {
  const [ada, ben] = [await tab('Ada'), await tab('Ben')];
  await enter(ada, 'garden');
  await enter(ben, 'garden');
  await openRoom(ben, 'general');
  await say(ada, 'the roses are out');
  await say(ada, 'and the bees');
  const badge = ben.locator('#rooms .badge');
  await until(async () => (await badge.allTextContents()).join() === '2 unread', () => 'no badge that says 2');
  assert.match(await ben.title(), /^\(2\)/);
  await sees(ben);
  await openRoom(ben, 'garden');
  await sees(ben, 'the roses are out', 'and the bees');
  await until(async () => (await badge.count()) === 0, () => 'the badge stays');
  assert.equal(new URL(ben.url()).hash, '#garden');
  await ben.reload();
  await sees(ben, 'the roses are out', 'and the bees');
  await ben.getByRole('button', { name: 'Leave garden' }).click();
  await sees(ben);
  await until(async () => (await people(ada)).length === 1, () => 'Ben is still in the garden');
  noComplaints(ada, ben);
});

test('who is here is shown, and who types', async () => {
  const [ada, ben] = [await tab('Ada'), await tab('Ben')];
  await until(async () => (await people(ada)).join() === 'Ada,Ben', () => 'Ada does not see both');
  await ben.getByLabel('Message', { exact: true }).pressSequentially('well');
  await ada.getByText('Ben is typing…').waitFor();
  await ben.close();
  await until(async () => (await people(ada)).join() === 'Ada', () => 'Ben is gone and still shown');
  await until(async () => (await ada.locator('#typing').textContent()) === '', () => 'Ben is gone and still types');
  assert.equal(await ada.locator('#count').textContent(), '1');
  noComplaints(ada);
});

test('one edits, deletes and reacts, and everyone sees it', async () => {
  const [ada, ben] = [await tab('Ada'), await tab('Ben')];
  for (const text of ['frist', 'second', 'third']) await say(ada, text);
  await sees(ben, 'frist', 'second', 'third');
  await act(ada, 'frist', 'Edit');
  assert.equal(await ada.getByLabel('Message', { exact: true }).inputValue(), 'frist');
  await say(ada, 'first');
  await sees(ben, 'first', 'second', 'third');
  await ben.locator('.message', { hasText: 'first' }).getByText('edited').waitFor();
  await act(ada, 'second', 'Delete');
  await sees(ben, 'first', 'Deleted', 'third');
  await act(ben, 'third', 'React with 🎉');
  const chip = ada.getByRole('button', { name: '🎉, Ben' });
  await chip.waitFor();
  await chip.click();
  const both = ben.getByRole('button', { name: '🎉, Ben, Ada' });
  assert.equal(await both.getAttribute('aria-pressed'), 'true');
  await both.click();
  await ada.getByRole('button', { name: '🎉, Ada' }).waitFor();
  // The others' messages can be answered with a reaction only.
  await ben.locator('.message', { hasText: 'third' }).locator('summary').click();
  assert.equal(await ben.getByRole('button', { name: 'Edit', exact: true }).count(), 0);
  await ben.reload();
  await sees(ben, 'first', 'Deleted', 'third');
  await ben.getByRole('button', { name: '🎉, Ada' }).waitFor();
  noComplaints(ada, ben);
});

test('the arrow up edits what one said last, and Escape gives the draft back', async () => {
  const page = await tab('Ada');
  await say(page, 'one');
  await sees(page, 'one');
  const field = page.getByLabel('Message', { exact: true });
  await field.press('ArrowUp');
  assert.equal(await field.inputValue(), 'one');
  await page.getByText('Editing your message').waitFor();
  await field.press('Escape');
  assert.equal(await field.inputValue(), '');
  await field.press('ArrowUp');
  await field.fill('two');
  await field.press('Enter');
  await sees(page, 'two');
  noComplaints(page);
});

test('S45: a message to one person reaches only them', async () => {
  const [ada, ben, eve] = [await tab('Ada'), await tab('Ben'), await tab('Eve')];
  await ada.getByRole('button', { name: 'Write to Ben' }).click();
  await ada.getByRole('heading', { name: '@Ben' }).waitFor();
  await say(ada, 'between us');
  await sees(ada, 'between us');
  await openRoom(ben, '@Ada');
  await sees(ben, 'between us');
  await say(ben, 'of course');
  await sees(ada, 'between us', 'of course');
  assert.equal(await eve.locator('#rooms li').count(), 1);
  await sees(eve);
  noComplaints(ada, ben, eve);
});

test('search finds what was said, and leads there', async () => {
  const page = await tab('Ada');
  for (const text of ['the red house', 'a blue boat', 'red wine', 'nothing']) await say(page, text);
  await sees(page, 'the red house', 'a blue boat', 'red wine', 'nothing');
  await page.getByLabel('Search in this room').fill('red');
  await page.getByLabel('Search in this room').press('Enter');
  const hits = page.locator('#found-list .body');
  await until(async () => (await hits.allTextContents()).join() === 'red wine,the red house', () => 'not what was looked for');
  await hits.last().click();
  await page.locator('.message.found', { hasText: 'the red house' }).waitFor();
  assert.ok(await page.locator('#found').isHidden());
  noComplaints(page);
});

test('S15, S16: the dot is green when open, red when the server stops, green by itself when it is back', async () => {
  const page = await tab('Ada');
  await dotIs(page, 'open', 'green');
  assert.equal(await page.locator('#status').textContent(), 'Connected');
  assert.equal(await server.stop('SIGTERM'), 0);
  await dotIs(page, 'closed', 'red');
  assert.match(await page.getByRole('status').first().textContent(), /Not connected/);
  await server.start();
  await dotIs(page, 'open', 'green');
  await say(page, 'back again');
  await sees(page, 'back again');
});

test('S16: what is posted while the server is away is sent once when it is back, and a draft survives a reload', async () => {
  const page = await tab('Ada');
  await say(page, 'before');
  await sees(page, 'before');
  await server.stop();
  await dotIs(page, 'closed', 'red');
  await say(page, 'meanwhile');
  await say(page, 'meanwhile');
  await page.getByLabel('Message', { exact: true }).fill('half a sent');
  assert.deepEqual(await page.locator('#outbox .body').allTextContents(), ['meanwhile', 'meanwhile']);
  assert.deepEqual(await bodies(page), ['before']);
  await server.start();
  await sees(page, 'meanwhile', 'meanwhile');
  assert.deepEqual(await page.locator('#outbox li').count(), 0);
  await page.reload();
  await sees(page, 'meanwhile', 'meanwhile');
  assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), 'half a sent');
});

test('S16: a post whose answer was lost with its connection is not said twice', async () => {
  const page = await tab('Ada');
  await say(page, 'ok');
  await sees(page, 'ok');
  let acks = 0;
  await page.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    let isCut = false;
    upstream.onMessage((message) => {
      isCut ||= JSON.parse(message).type === 'ack' && (acks += 1) === 1;
      if (isCut) client.close({ code: 4000 });
      else client.send(message);
    });
  });
  await page.reload();
  await sees(page, 'ok');
  await say(page, 'ok');
  await until(() => acks > 1, () => 'the page did not post again');
  await say(page, 'and on');
  await sees(page, 'ok', 'ok', 'and on');
  assert.equal(await page.locator('#outbox li').count(), 0);
});

test('S16: a post that died with its connection is sent again on the next one', async () => {
  const page = await tab('Ada');
  await say(page, 'ok');
  await sees(page, 'ok');
  let posts = 0;
  await page.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    client.onMessage((message) => {
      const isPost = JSON.parse(message).type === 'post';
      posts += isPost ? 1 : 0;
      if (isPost && posts === 1) client.close({ code: 4000 });
      else upstream.send(message);
    });
  });
  await page.reload();
  await sees(page, 'ok');
  await say(page, 'ok');
  await sees(page, 'ok', 'ok');
  assert.equal(posts, 2);
});

test('a message that does not arrive is missed at the next one, and asked for', async () => {
  const [ada, ben] = [await tab('Ada'), await tab('Ben')];
  await say(ada, 'one');
  await sees(ben, 'one');
  let drops = 0;
  await ben.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    upstream.onMessage((message) => {
      const { type, text } = JSON.parse(message);
      if (type === 'message' && text === 'two' && (drops += 1) === 1) return;
      client.send(message);
    });
  });
  await ben.reload();
  await sees(ben, 'one');
  await say(ada, 'two');
  await say(ada, 'three');
  // `two` never came; `three` shows that it is missing, and the page asks for it.
  await sees(ben, 'one', 'two', 'three');
  assert.equal(drops, 1);
  noComplaints(ada, ben);
});

test('a refused post goes back into the field, with the reason where a screen reader says it', async () => {
  const page = await tab('Ada');
  await page.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    client.onMessage((message) => {
      const { type, id } = JSON.parse(message);
      if (type === 'post') client.send(JSON.stringify({ type: 'error', id, code: 'too_long', message: 'too long' }));
      else upstream.send(message);
    });
  });
  await page.reload();
  await page.locator('#status[data-state=open]').waitFor();
  await say(page, 'my words');
  await until(async () => (await page.locator('#notice').textContent()) === 'Not sent: too long', () => 'no notice');
  assert.equal(await page.locator('#notice').getAttribute('role'), 'status');
  assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), 'my words');
  assert.equal(await page.locator('#outbox li').count(), 0);
});

test('S25: markup in a message and in a name is shown as text and does not run', async () => {
  const [ada, ben] = [await tab('<img src=x onerror=ran()>'), await tab('Ben')];
  const hostile = ['<img src=x onerror="window.ran = 1">', '<script>window.ran = 1</script>', '<a href="javascript:window.ran=1">x</a>'];
  for (const text of hostile) await say(ada, text);
  for (const page of [ada, ben]) {
    await sees(page, ...hostile);
    assert.equal(await page.locator('#messages .body').locator('img, script, a, b').count(), 0);
    assert.equal(await page.evaluate(() => window.ran), undefined);
    assert.equal(await page.locator('#messages .author').first().textContent(), '<img src=x onerror=ran()>');
  }
  noComplaints(ada, ben);
});

test('a text over the limit is not sent and not lost, one of exactly the limit is taken', async () => {
  const page = await tab('Ada');
  const field = page.getByLabel('Message', { exact: true });
  const limit = 4096;
  const long = 'é'.repeat(limit / 2);
  await say(page, `${long}x`);
  assert.equal(await page.locator('#counter').textContent(), `${limit + 1} of ${limit} bytes`);
  assert.equal(await field.inputValue(), `${long}x`);
  await say(page, long);
  await sees(page, long);
  assert.equal(await field.inputValue(), '');
  noComplaints(page);
});

test('a name that the server refuses is told of, and another one may be taken', async () => {
  const page = await tab('Ada');
  await page.getByLabel('Your name').fill('n'.repeat(60));
  await page.getByLabel('Your name').press('Enter');
  await until(async () => (await page.locator('#notice').textContent()) !== '', () => 'no notice');
  await call(page, 'Grace');
  await say(page, 'better');
  await sees(page, 'better');
});

test('the keyboard alone is enough: Enter sends, Shift+Enter breaks the line', async () => {
  const page = await tab('Ada');
  await page.getByLabel('Message', { exact: true }).focus();
  await page.keyboard.type('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  await page.keyboard.press('Enter');
  await sees(page, 'one\ntwo');
  assert.ok(await page.getByRole('log', { name: 'Messages' }).isVisible());
  noComplaints(page);
});

test('on a phone nothing overflows sideways and the composer is in view, in light and in dark', async () => {
  for (const colorScheme of ['light', 'dark']) {
    const page = await tab('Ada Lovelace', { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme });
    await say(page, `a-word-without-an-end-${'x'.repeat(300)}`);
    await until(async () => (await bodies(page)).length > 0, () => 'the message did not come back');
    const { wide, low } = await page.evaluate(() => ({
      wide: [...document.querySelectorAll('*')].filter((e) => e.scrollWidth > innerWidth || e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML.slice(0, 80)),
      low: document.querySelector('#composer').getBoundingClientRect().bottom > innerHeight + 0.5,
    }));
    assert.deepEqual(wide, []);
    assert.equal(low, false);
    await shoot(page, `chat-phone-${colorScheme}.png`);
    noComplaints(page);
  }
});

async function shoot(page, name) {
  if (!screenshots) return;
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, name) });
}
