// What people and servers send is data to the page: it is never code, markup or a name of something of the page's own.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, message, noComplaints, say, sees, shows } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

const ODD = ['toString', 'constructor', '__proto__', 'hasOwnProperty', 'valueOf', 'prototype'];

/** Rewrites what the server says on its way to the page. */
async function rewritten(page, rewrite) {
  await page.routeWebSocket('**/ws', (socket) => {
    const server = socket.connectToServer();
    server.onMessage((text) => {
      for (const value of [rewrite(JSON.parse(text))].flat()) socket.send(typeof value === 'string' ? value : JSON.stringify(value));
    });
  });
}

test('reactions with the names of an object’s own properties are reactions like others', async () => {
  chat = await Chat.start(browser);
  const ada = await chat.guest('Ada');
  await say(ada, 'react to this');
  await sees(ada, 'react to this');
  // As a server of before, or a lying one, tells of them.
  const odd = (value) => {
    if (value.type === 'joined' && value.messages.length > 0) {
      const reactions = ODD.map((name) => `${JSON.stringify(name)}:["Ada"]`).join(',');
      return JSON.stringify(value).replace('"text":"react to this"', `"text":"react to this","reactions":{${reactions}}`);
    }
    if (value.type !== 'message') return value;
    const reacted = [1, 2].flatMap((seq) => ODD.map((emoji) => ({ type: 'reacted', room: value.room, seq, user: 'Ben', emoji })));
    return [value, ...reacted.map((change, i) => ({ ...change, rev: i + 1 }))];
  };
  const ben = await chat.guest('Ben');
  await rewritten(ben, odd);
  await ben.reload();
  await sees(ben, 'react to this');
  const chips = () => ben.locator('#messages .chip').allTextContents();
  await shows(ben, chips, ODD.map((name) => `${name} 1`));
  await say(ben, 'still here');
  await sees(ben, 'react to this', 'still here');
  await sees(ada, 'react to this', 'still here');
  await shows(ben, chips, [...ODD.map((name) => `${name} 2`), ...ODD.map((name) => `${name} 1`)]);
  noComplaints(ada, ben);
});

test('people and rooms may be called like an object’s own properties', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('constructor', { place: '#__proto__' });
  await say(page, 'toString');
  await sees(page, 'toString');
  const other = await chat.guest('__proto__', { place: '#__proto__' });
  await shows(other, () => other.locator('#people .author').allTextContents(), ['__proto__', 'constructor']);
  await page.getByRole('button', { name: 'Write to __proto__' }).click();
  await say(page, 'between us');
  await sees(page, 'between us');
  await page.reload();
  await sees(page);
  noComplaints(page, other);
});

test('one thing of a wrong shape spoils nothing beside it', async () => {
  chat = await Chat.start(browser);
  const ada = await chat.guest('Ada');
  for (const text of ['one', 'two']) await say(ada, text);
  await sees(ada, 'one', 'two');
  const page = await chat.guest('Ben');
  await rewritten(page, (value) => {
    if (value.type !== 'joined') return value;
    const [one, two] = value.messages;
    const messages = [null, 7, 'x', [], { seq: -1 }, { seq: '1' }, { ...one, time: 1e300, reactions: { a: 'b', c: [null, 3, 'Ada'], d: {} } },
      { ...two, edited: 'never', user: { toString: 1 }, verified: 'yes' }];
    const changes = [null, 3, {}, { type: 'reacted' }, { type: 'reacted', seq: 1, rev: 1, emoji: 5, user: [] }, { type: 'constructor', seq: 1 }];
    return ['no json', '[]', 'null', '{"type":"message","room":{}}', { type: 'message', room: 'general' }, { type: 'edited', room: 'general' },
      { type: 'presence', room: 'general', joined: 5, left: 'x', count: 'many' }, { type: 'reads', room: 'general', reads: [null] },
      { type: 'direct' }, { type: 'direct', from: 5, to: null, text: {} }, { type: 'bye', reason: {} }, { type: 'broadcast', text: 5, time: 'x' },
      { ...value, messages, changes, members: [null, {}, ...value.members] }];
  });
  await page.reload();
  await sees(page, 'one', 'two');
  await say(page, 'three');
  await sees(page, 'one', 'two', 'three');
  assert.deepEqual(page.complaints, []);
});

test('nothing that a server or a person says becomes markup', async () => {
  const markup = '<img src=x onerror="window.ran=1"><b>bold</b>&lt;';
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await rewritten(page, (value) => {
    if (value.type !== 'joined') return value;
    const odd = { seq: 1, user: markup, client: 'c', text: markup, time: 1, reactions: { [markup]: [markup] } };
    return [{ ...value, seq: 1, messages: [odd], members: [...value.members, { client: markup, user: markup }] },
      { type: 'broadcast', text: markup, time: 1 }, { type: 'direct', from: markup, to: 'Ada', text: markup, time: 1 },
      { type: 'typing', room: 'general', user: markup }, { type: 'error', code: markup, field: markup, message: markup }];
  });
  await page.reload();
  await sees(page, markup);
  await until(async () => (await page.locator('#announcements').textContent()).includes(markup), () => 'no announcement');
  await message(page, 'bold').hover();
  await message(page, 'bold').locator('summary').click();
  assert.deepEqual(await page.locator('body').evaluate((body) => [...body.querySelectorAll('img:not([src="favicon.svg"]), b, script, iframe, a:not(.when)')].length), 0);
  assert.equal(await page.evaluate(() => window.ran), undefined);
  assert.deepEqual(await bodies(page), [markup]);
  noComplaints(page);
});

test('what other programs left in the browser’s storage leaves no dead page', async () => {
  chat = await Chat.start(browser);
  const values = ['{', 'null', '5', '"x"', '{"a":1}', '[1,null,{"room":5},[]]', '[{"room":"general","text":"x"}]'];
  for (const value of values) {
    const page = await chat.open('', {
      before: (tab) => tab.addInitScript((junk) => {
        for (const storage of [localStorage, sessionStorage]) {
          for (const key of ['rooms', 'outbox', 'closed', 'draft.general']) storage.setItem(`switchboard.${key}`, junk);
        }
        localStorage.setItem('switchboard.user', ' '.repeat(9));
      }, value),
    });
    assert.match(await page.locator('#user').inputValue(), /^Guest \d+$/);
    assert.ok((await page.locator('#rooms .room-name').allTextContents()).includes('# general'));
    noComplaints(page);
  }
  // Storage that is switched off.
  const page = await chat.open('', {
    before: (tab) => tab.addInitScript(() => {
      for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get() { throw new Error('off'); } });
    }),
  });
  await say(page, 'without a memory');
  await sees(page, 'without a memory');
  noComplaints(page);
});
