// The chat page in a real browser. Names carry the ids of the behaviours they show.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { complaintsOf, freePort, launchBrowser, screenshots, Server, until } from './harness.js';

const RECONNECT_LIMIT_MS = 30_000;
const WIDE = { width: 1000, height: 680 };
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
  if (name) await page.getByLabel('Your name').fill(name);
  return page;
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

test('S13: the page shows the last 50 messages, the newest at the bottom and in view', async () => {
  const page = await tab('Ada');
  const said = Array.from({ length: 53 }, (_, i) => `line ${i}`);
  for (const line of said) await say(page, line);
  await sees(page, ...said.slice(-50));
  await until(() => inView(page, 'line 52'), () => 'the newest message is out of view');
  await page.getByLabel('Message', { exact: true }).fill('a\ntext\nof\nfive\nlines');
  await until(() => inView(page, 'line 52'), () => 'the growing field covers the newest message');
  // Who reads further up is not pulled down, but told.
  await page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
  await say(await tab('Ben'), 'are you there?');
  await page.getByRole('button', { name: 'New messages' }).click();
  await until(() => inView(page, 'are you there?'), () => 'the button does not lead to the newest message');
  // The oldest one leaves as its copy comes: the page still knows that its post has arrived.
  await say(page, 'line 4');
  await sees(page, ...said.slice(-48), 'are you there?', 'line 4');
  assert.equal(await page.locator('#outbox li').count(), 0);
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

test('S16: a post whose answer was lost with its connection is not sent twice', async () => {
  const page = await tab('Ada');
  await say(page, 'ok');
  await sees(page, 'ok');
  let answers = 0;
  await page.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    upstream.onMessage((list) => {
      answers += 1;
      if (answers === 2) client.close({ code: 4000 });
      else client.send(list);
    });
  });
  await page.reload();
  await sees(page, 'ok');
  await say(page, 'ok');
  await until(() => answers > 2, () => 'the page did not connect again');
  await say(page, 'and on');
  await sees(page, 'ok', 'ok', 'and on');
});

test('S16: a post that died with its connection is sent again on the next one', async () => {
  const page = await tab('Ada');
  await say(page, 'ok');
  await sees(page, 'ok');
  let posts = 0;
  await page.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    client.onMessage((post) => {
      posts += 1;
      if (posts === 1) client.close({ code: 4000 });
      else upstream.send(post);
    });
  });
  await page.reload();
  await sees(page, 'ok');
  await say(page, 'ok');
  await sees(page, 'ok', 'ok');
  assert.equal(posts, 2);
});

test('a refused post goes back into the field, with the reason where a screen reader says it', async () => {
  const page = await tab('Ada');
  await page.routeWebSocket('**/ws', (client) => {
    client.send('{"msg":[]}');
    client.onMessage(() => client.send('{"error":"too_long"}'));
  });
  await page.reload();
  await page.locator('#status[data-state=open]').waitFor();
  await say(page, 'my words');
  await until(async () => (await page.locator('#notice').textContent()) === 'Not sent: too_long', () => 'no notice');
  assert.equal(await page.locator('#notice').getAttribute('role'), 'status');
  assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), 'my words');
  assert.equal(await page.locator('#outbox li').count(), 0);
});

test('S25: markup in a message and in a name is shown as text and does not run', async () => {
  const [ada, ben] = [await tab('<b>Ada</b><script>window.ran = 1</script>'), await tab('Ben')];
  const hostile = ['<img src=x onerror="window.ran = 1">', '<script>window.ran = 1</script>', '<a href="javascript:window.ran=1">x</a>'];
  for (const text of hostile) await say(ada, text);
  for (const page of [ada, ben]) {
    await sees(page, ...hostile);
    assert.equal(await page.locator('#messages').locator('img, script, a, b').count(), 0);
    assert.equal(await page.evaluate(() => window.ran), undefined);
    assert.equal(await page.locator('#messages .author').first().textContent(), '<b>Ada</b><script>window.ran = 1</script>');
  }
  noComplaints(ada, ben);
});

test('a text over the limit is not sent and not lost, and the length is shown in bytes', async () => {
  const page = await tab('Ada');
  const limit = Number(await page.locator('#composer').getAttribute('data-max-text-bytes'));
  const field = page.getByLabel('Message', { exact: true });
  const long = 'é'.repeat(limit / 2);
  await say(page, `${long}x`);
  assert.equal(await page.locator('#counter').textContent(), `${limit + 1} of ${limit} bytes`);
  assert.equal(await field.inputValue(), `${long}x`);
  await say(page, long);
  await sees(page, long);
  assert.equal(await field.inputValue(), '');
  noComplaints(page);
});

test('the server and the page agree on the limits: a text and a name of exactly that many bytes are taken', async () => {
  const page = await tab();
  const form = page.locator('#composer');
  const [name, text] = await form.evaluate(({ dataset }) => ['n'.repeat(dataset.maxUserBytes), 't'.repeat(dataset.maxTextBytes)]);
  await page.getByLabel('Your name').fill(name);
  await say(page, text);
  await sees(page, text);
  assert.equal(await page.locator('#notice').textContent(), '');
});

test('the keyboard alone is enough: Enter sends, Shift+Enter breaks the line', async () => {
  const page = await tab('Ada');
  await page.getByLabel('Your name').press('Tab');
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

test('S44: a conversation of three, for the picture', async () => {
  const [ada, ben, grace] = [await tab('Ada'), await tab('Ben'), await tab('Grace')];
  const said = [
    [ben, 'Is the new server up?'],
    [ada, 'It is: one loop, one core, and this page came out of the same binary.'],
    [grace, 'Five thousand connections since this morning, and the fan is still quiet.'],
    [ben, 'Then I pull the plug and see what the dot does.'],
    [ada, 'Red. And green again by itself, with nothing lost.'],
  ];
  for (const [i, [page, text]] of said.entries()) {
    await say(page, text);
    await sees(ada, ...said.slice(0, i + 1).map(([, line]) => line));
  }
  await shoot(ada, 'chat.png');
  noComplaints(ada, ben, grace);
});

async function shoot(page, name) {
  if (!screenshots) return;
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, name) });
}
