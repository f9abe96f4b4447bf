// What browsers do differently, in Firefox: scrolling, addresses, compositions, menus in the top layer.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import puppeteer from 'puppeteer-core';
import { Chat, lines, standsStill } from './driver.js';
import { until } from './harness.js';

let browser;
let chat;

before(async () => {
  browser = await puppeteer.launch({ browser: 'firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr', headless: true });
});
after(() => browser?.close());
afterEach(async () => {
  for (const page of await browser.pages()) if (page.url() !== 'about:blank') await page.close();
  await chat?.stop();
});

async function open(place = '') {
  const page = await browser.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  await page.setViewport({ width: 1280, height: 800 });
  await page.goto(chat.url + place);
  await page.waitForSelector('#status[data-state=open]');
  return page;
}

const bodies = (page) => page.$$eval('#messages .body', (all) => all.map((one) => one.textContent));
const title = (page) => page.$eval('#title', (one) => one.textContent);
const titled = (page, name) => until(async () => (await title(page)) === name, () => `the title is not ${name}`);

async function say(page, text) {
  await page.type('#text', text);
  await page.keyboard.press('Enter');
}

test('Firefox: scrolling back keeps the line that is read', async () => {
  chat = await Chat.start(undefined, { lines: lines('general', 300) });
  const page = await open();
  await until(async () => (await bodies(page)).at(-1) === 'line 300', () => 'no history');
  const eye = () => page.$eval('#log', (log) => {
    const edge = log.getBoundingClientRect().top;
    const item = [...document.querySelectorAll('#messages .message')].find((one) => one.getBoundingClientRect().bottom > edge + 1);
    return Number(item.querySelector('.body').textContent.slice(5));
  });
  const box = await (await page.$('#log')).boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  let lowest = await eye();
  for (let i = 0; i < 400 && lowest > 1; i += 1) {
    await page.mouse.wheel({ deltaY: -300 });
    await page.$eval('#log', standsStill);
    const number = await eye();
    assert.ok(number <= lowest && number >= lowest - 14, `from line ${lowest} to line ${number}`);
    lowest = number;
  }
  assert.equal(lowest, 1);
  assert.deepEqual(page.complaints, []);
});

test('Firefox: addresses of all kinds name rooms, and Back goes to the room before', async () => {
  chat = await Chat.start();
  const page = await open('#100%');
  await titled(page, '# 100%');
  await page.evaluate(() => { location.hash = '#caf%E9'; });
  await titled(page, '# caf%e9');
  await page.evaluate(() => { location.hash = '#kitchen'; });
  await titled(page, '# kitchen');
  await page.goBack();
  await titled(page, '# caf%e9');
  await page.goBack();
  await titled(page, '# 100%');
  await say(page, 'alive');
  await until(async () => (await bodies(page)).join() === 'alive', () => 'dead');
  assert.deepEqual(page.complaints, []);
});

test('Firefox: Enter that ends a composition does not send', async () => {
  chat = await Chat.start();
  const page = await open();
  await page.$eval('#text', (text) => {
    text.value = '会議';
    text.dispatchEvent(new InputEvent('input', { bubbles: true }));
    const key = (init) => text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...init }));
    const compose = (type) => text.dispatchEvent(new CompositionEvent(type, { bubbles: true, data: '会議' }));
    compose('compositionstart');
    key({ isComposing: true, keyCode: 229 });
    compose('compositionend');
    compose('compositionstart');
    compose('compositionend');
    key({ keyCode: 229 });
  });
  await new Promise((done) => { setTimeout(done, 200); });
  assert.deepEqual(await bodies(page), []);
  await page.focus('#text');
  await page.keyboard.press('Enter');
  await until(async () => (await bodies(page)).join() === '会議', () => 'Enter does not send');
});

test('Firefox: the menu is in reach, and Escape closes it', async () => {
  chat = await Chat.start();
  const page = await open();
  await say(page, 'mine');
  await until(async () => (await bodies(page)).join() === 'mine', () => 'not said');
  await page.hover('#messages .message');
  await page.click('#messages summary');
  await page.waitForSelector('.menu');
  const isInReach = await page.$$eval('.menu button', (all) => all.every((one) => {
    const { left, top, right, bottom } = one.getBoundingClientRect();
    return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight
      && one.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2));
  }));
  assert.ok(isInReach);
  await page.keyboard.press('Escape');
  assert.equal(await page.$('.menu'), null);
  assert.deepEqual(page.complaints, []);
});

test('Firefox: the field grows, people and emojis are completed, and what was completed can be undone', async () => {
  chat = await Chat.start();
  const page = await open();
  const value = () => page.$eval('#text', (text) => text.value);
  const low = await page.$eval('#text', (text) => text.offsetHeight);
  await page.$eval('#text', (text) => {
    text.value = 'a\nb\nc\nd';
    text.dispatchEvent(new InputEvent('input', { bubbles: true }));
  });
  assert.ok(await page.$eval('#text', (text) => text.offsetHeight) > low * 1.8, 'it does not grow');
  await page.$eval('#text', (text) => {
    text.value = '';
    text.dispatchEvent(new InputEvent('input', { bubbles: true }));
  });
  await page.type('#text', 'hi :roc');
  await page.waitForSelector('#suggestions [role=option]');
  await page.keyboard.press('Tab');
  assert.equal(await value(), 'hi 🚀 ');
  await page.keyboard.down('Control');
  await page.keyboard.press('z');
  await page.keyboard.up('Control');
  assert.notEqual(await value(), 'hi 🚀 ');
  await page.$eval('#text', (text) => {
    text.value = '**bold** 🎉';
    text.dispatchEvent(new InputEvent('input', { bubbles: true }));
  });
  await page.keyboard.press('Enter');
  await until(async () => (await page.$$eval('#messages .body strong', (all) => all.map((one) => one.textContent))).join() === 'bold', () => 'no bold');
  assert.deepEqual(page.complaints, []);
});
