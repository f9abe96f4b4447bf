// For everyone: languages and directions of writing, zoom, colours, keys, paper; and who signs in elsewhere.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, field, isConnected, lines, message, noComplaints, say, sees, shows } from './driver.js';
import { launchBrowser, serveFiles, until } from './harness.js';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

async function findings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 120)}`));
}

/** What lies beyond the sides of the window, or is wider than it. */
const tooWide = (page) => page.evaluate(() => [...document.querySelectorAll('body *')].filter((one) => {
  const { left, right, width } = one.getBoundingClientRect();
  const isClipped = one.closest('#found, pre, #frames, .visually-hidden, .head, #status-text, [hidden]') !== null;
  return width > 1 && !isClipped && (right > innerWidth + 1 || left < -1);
}).map((one) => one.outerHTML.slice(0, 80)));

test('German and Arabic are whole, and the page speaks the language of the browser or the one that is chosen', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const missing = await page.evaluate(async () => {
    const [en, de, ar] = await Promise.all(['en', 'de', 'ar'].map(async (lang) => (await import(`/words.${lang}.js`)).default));
    const keys = (words) => Object.keys(words).filter((key) => !/^(frame_(?!copy|out|in$)|field_|error_|formats_text)/.test(key));
    const values = (text) => JSON.stringify([...new Set(String(text).match(/\{\w+\}/g) ?? [])].sort());
    const last = (entry) => (typeof entry === 'string' ? entry : entry.other);
    return [de, ar].flatMap((words) => keys(en).filter((key) => !words[key] || values(last(words[key])) !== values(last(en[key]))).map((key) => `${words.lang} ${key}`));
  });
  assert.deepEqual(missing, []);
  const german = await chat.open('', { locale: 'de-AT' });
  await german.getByRole('button', { name: 'Senden' }).waitFor();
  assert.equal(await german.evaluate(() => document.documentElement.lang), 'de');
  const arabic = await chat.open('', { locale: 'ar-EG' });
  await arabic.getByRole('button', { name: 'إرسال' }).waitFor();
  assert.equal(await arabic.evaluate(() => document.documentElement.dir), 'rtl');
  assert.deepEqual(await findings(arabic), []);
  // The rooms are at the right, and nothing lies beyond the window.
  const box = await arabic.locator('#rooms-panel').boundingBox();
  assert.ok(box.x > 900, `the rooms are at ${box.x}`);
  assert.deepEqual(await tooWide(arabic), []);
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByLabel('Language').selectOption('Deutsch');
  await page.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('button', { name: 'Einstellungen' }).waitFor();
  await page.reload();
  await page.getByRole('button', { name: 'Einstellungen' }).waitFor();
  noComplaints(page, german, arabic);
});

test('texts of both directions are read in their own, whatever that of the page is', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('محمد');
  const mixed = 'مرحبا Ada\nhello مرحبا';
  await say(page, mixed);
  await sees(page, mixed);
  assert.equal(await message(page, 'Ada').locator('.body').evaluate((body) => getComputedStyle(body).unicodeBidi), 'plaintext');
  assert.equal(await page.locator('#people .avatar').first().getAttribute('data-initials'), 'م');
  noComplaints(page);
});

for (const [name, options] of [['light', { forcedColors: 'active', colorScheme: 'light' }], ['dark', { forcedColors: 'active', colorScheme: 'dark' }]]) {
  test(`axe-core finds nothing in forced colours (${name}), and what colours say is said otherwise`, async () => {
    chat = await Chat.start(browser);
    const page = await chat.guest('Ada', options);
    const ben = await chat.client({ user: 'Ben' });
    await ben.say({ type: 'join', room: 'general' });
    await ben.say({ type: 'post', room: 'general', text: 'for @Ada: `code` and https://a.example/' });
    await message(page, 'for @Ada').waitFor();
    assert.deepEqual(await findings(page), []);
    const outline = (selector) => page.locator(selector).first().evaluate((one) => getComputedStyle(one).outlineStyle);
    assert.equal(await outline('#rooms [aria-current]'), 'solid');
    assert.equal(await outline('.mention.me'), 'solid');
    noComplaints(page);
  });
}

test('at 320 pixels, which is 400 % of 1280, everything is there and nothing scrolls sideways', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 5, (i) => `line ${i} ${'long'.repeat(30)} \`${'code'.repeat(40)}\``) });
  const page = await chat.guest('Ada', { viewport: { width: 320, height: 256 } });
  await until(async () => (await bodies(page)).length === 5, () => 'no history');
  assert.deepEqual(await tooWide(page), []);
  assert.ok(await field(page).isVisible());
  await page.locator('#rooms-button').click();
  assert.deepEqual(await tooWide(page), []);
  await page.locator('#rooms-panel').getByRole('button', { name: 'Settings' }).click();
  assert.deepEqual(await tooWide(page), []);
  await page.keyboard.press('Escape');
  // The rooms, or the way to them, on every width.
  for (const width of [959, 960, 961]) {
    await page.setViewportSize({ width, height: 700 });
    const shown = await Promise.all(['#rooms-panel', '#rooms-button'].map((one) => page.locator(one).isVisible()));
    assert.deepEqual(shown, width < 960 ? [false, true] : [true, false], `${width} px`);
  }
  noComplaints(page);
});

test('everything that can be pressed is at least 24 pixels high and wide', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  await ben.say({ type: 'post', room: 'general', text: 'hello' });
  await ben.say({ type: 'react', room: 'general', seq: 1, emoji: '👍' });
  await page.locator('.chip').waitFor();
  await page.getByRole('button', { name: 'Emoji', exact: true }).click();
  await page.keyboard.press('F2');
  await page.locator('.frame').first().waitFor();
  const small = await page.evaluate(() => [...document.querySelectorAll('button, summary, input, select, textarea')].filter((one) => {
    const { width, height } = one.getBoundingClientRect();
    return width > 0 && Math.min(width, height) < 20 + 4 * Number(one.type !== 'checkbox');
  }).map((one) => `${one.outerHTML.slice(0, 80)} ${one.offsetWidth}x${one.offsetHeight}`));
  assert.deepEqual(small, []);
  noComplaints(page);
});

test('the Tab key has one stop in the log, and what is in a message is reached from the message', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const ben = await chat.client({ user: 'Ben' });
  await ben.say({ type: 'join', room: 'general' });
  for (const text of ['one https://a.example/', 'two https://b.example/']) await ben.say({ type: 'post', room: 'general', text });
  for (const seq of [1, 2]) await ben.say({ type: 'react', room: 'general', seq, emoji: '👍' });
  await until(async () => (await page.locator('.chip').count()) === 2, () => 'no reactions');
  const stops = () => page.locator('#messages').evaluate((list) => [...list.querySelectorAll('a, button, summary')].filter((one) => one.tabIndex === 0).map((one) => one.className || one.tagName));
  assert.deepEqual(await stops(), []);
  await page.locator('#log').focus();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  assert.deepEqual(await stops(), ['when', 'A', 'chip', 'SUMMARY']);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('href')), '#general/1');
  await page.keyboard.press('Escape');
  assert.ok(await page.locator('#log').evaluate((log) => log === document.activeElement));
  noComplaints(page);
});

test('those who see no red, no green or no blue tell the colours of initials apart', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const colours = await page.evaluate(async () => {
    const { HUES } = await import('/person.js');
    return Array.from({ length: HUES }, (_, hue) => {
      const made = document.createElement('span');
      made.className = 'avatar';
      made.dataset.hue = hue;
      document.body.append(made);
      const { backgroundColor, color } = getComputedStyle(made);
      made.remove();
      return [backgroundColor, color].map((one) => one.match(/\d+/g).map(Number));
    });
  });
  // Machado, Oliveira and Fernandes 2009, severity 1.0, in linear light.
  const sights = {
    all: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
  };
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const seen = (rgb, sight) => sight.map((row) => Math.min(1, Math.max(0, row.reduce((sum, factor, i) => sum + factor * linear(rgb[i]), 0))));
  const lab = ([r, g, b]) => {
    const [x, y, z] = [(0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505, 0.2126 * r + 0.7152 * g + 0.0722 * b, (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089]
      .map((value) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116));
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
  };
  for (const [name, sight] of Object.entries(sights)) {
    const all = colours.map(([background]) => lab(seen(background, sight)));
    for (let i = 0; i < all.length; i += 1) {
      for (let j = 0; j < i; j += 1) {
        const distance = Math.hypot(...all[i].map((value, k) => value - all[j][k]));
        assert.ok(distance > 10, `${name}: ${i} and ${j} are ${distance.toFixed(1)} apart`);
      }
    }
  }
  const luminance = (rgb) => rgb.map(linear).reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  for (const [background, ink] of colours) {
    const [low, high] = [luminance(background), luminance(ink)].sort((a, b) => a - b);
    assert.ok((high + 0.05) / (low + 0.05) >= 4.5, `${background} under ${ink}`);
  }
});

test('nothing moves for those who want no motion, and on paper there are the messages alone', async () => {
  chat = await Chat.start(browser, { lines: lines('general', 60) });
  const page = await chat.guest('Ada', { reducedMotion: 'reduce' });
  await until(async () => (await bodies(page)).at(-1) === 'line 60', () => 'no history');
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].filter((one) => {
    const { transitionDuration, animationName } = getComputedStyle(one);
    return animationName !== 'none' || transitionDuration !== '0s';
  }).length);
  assert.equal(moving, 0);
  await page.emulateMedia({ media: 'print' });
  for (const part of ['#rooms-panel', '#composer', '#people-panel', '#search-form']) assert.ok(await page.locator(part).isHidden(), part);
  const log = await page.locator('#log').evaluate((one) => [one.scrollHeight, one.clientHeight]);
  assert.ok(log[1] >= log[0] - 1, 'messages are cut off');
  noComplaints(page);
});

test('who has to sign in is sent there and comes back, and the other tabs are signed in, too', async () => {
  const elsewhere = await serveFiles(import.meta.dirname);
  chat = await Chat.start(browser, { args: ['--require-token', '--sign-in-url', `${elsewhere.origin}/in?app=chat`] });
  try {
    const page = await chat.open('#garden', { isOpen: false });
    await page.getByText('This server is for people who are signed in.').waitFor();
    const other = await page.context().newPage();
    await other.goto(chat.url);
    await other.getByText('This server is for people who are signed in.').waitFor();
    const [request] = await Promise.all([
      page.waitForRequest((one) => one.url().startsWith(elsewhere.origin)),
      page.locator('#notice-actions').getByRole('button', { name: 'Sign in' }).click(),
    ]);
    const asked = new URL(request.url());
    assert.deepEqual([asked.searchParams.get('app'), asked.searchParams.get('return_to')], ['chat', `${chat.url}#garden`]);
    await page.goto(`${chat.url}#token=${chat.token('Cleo')}`);
    await isConnected(page);
    assert.doesNotMatch(page.url(), /token/);
    await isConnected(other);
    await shows(other, () => other.getByLabel('Your name').inputValue(), 'Cleo');
    // A newer token of the same person is taken in place: nothing that was open is lost.
    await say(page, 'before');
    await sees(page, 'before');
    await field(other).fill('half a sent');
    await page.goto(`${chat.url}?token=${chat.token('Cleo', '--expires', '2h')}`);
    await isConnected(page);
    await isConnected(other);
    assert.equal(await field(other).inputValue(), 'half a sent');
  } finally {
    elsewhere.close();
  }
});
