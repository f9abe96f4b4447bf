// Writing: formats, links, mentions, emojis, replies, edits, and deletions that can be undone.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, enter, field, message, noComplaints, openMenu, say, sees, shows, titled } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

/** What a text becomes, as HTML, and what it reads as. */
const rendered = (page, texts) => page.evaluate(async (all) => {
  const { rendered: render } = await import('/text.js');
  return all.map((text) => {
    const made = document.createElement('div');
    made.append(...render(text, { names: ['Ada', 'Ada Lovelace', 'bob'], own: 'bob' }));
    return made.innerHTML;
  });
}, texts);

const link = (address, shown = address) => `<a href="${address}" rel="noopener noreferrer nofollow" target="_blank" tabindex="-1" dir="ltr">${shown}</a>`;

test('a small part of Markdown is shown as what it means, and everything else as it is written', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const table = [
    ['plain text', 'plain text'],
    ['two\nlines', 'two\nlines'],
    ['**bold** *it* _it_ ~~old~~', '<strong>bold</strong> <em>it</em> <em>it</em> <del>old</del>'],
    ['**a *b* c**', '<strong>a <em>b</em> c</strong>'],
    ['snake_case_name 2*3*4 a ** b', 'snake_case_name 2*3*4 a ** b'],
    ['a * not* and *not', 'a * not* and *not'],
    ['* list', '<ul><li>list</li></ul>'],
    ['`a *b* <c>`', '<code dir="ltr">a *b* &lt;c&gt;</code>'],
    ['`open', '`open'],
    ['``', '``'],
    ['```rust\nlet a = 1;\n  *b*\n```\nafter', '<pre dir="ltr" tabindex="-1"><code>let a = 1;\n  *b*</code></pre>after'],
    ['```\nnever closed', '```\nnever closed'],
    ['> one\n> **two**\nthree', '<blockquote>one\n<strong>two</strong></blockquote>three'],
    ['- one\n- two\n3. three\n4. four', '<ul><li>one</li><li>two</li></ul><ol start="3"><li>three</li><li>four</li></ol>'],
    ['-not a list', '-not a list'],
    ['see https://a.example/x_y_(z)?q=1#f.', `see ${link('https://a.example/x_y_(z)?q=1#f')}.`],
    ['(https://a.example/)', `(${link('https://a.example/')})`],
    ['HTTP://A.example', link('http://a.example/', 'HTTP://A.example')],
    ['http:// https:///x xhttps://a.example javascript:alert(1) ftp://a.example', `http:// ${link('https://x/', 'https:///x')} xhttps://a.example javascript:alert(1) ftp://a.example`],
    ['<a href="https://a.example/">x</a>', `&lt;a href="${link('https://a.example/')}"&gt;x&lt;/a&gt;`],
    ['<img src=x onerror=alert(1)> &lt;', '&lt;img src=x onerror=alert(1)&gt; &amp;lt;'],
    ['@Ada, @ada lovelace! x@Ada @Adam @bob', '<span class="mention">@Ada</span>, <span class="mention">@ada lovelace</span>! x@Ada @Adam <span class="mention me">@bob</span>'],
    ['**@bob** and `@bob`', '<strong><span class="mention me">@bob</span></strong> and <code dir="ltr">@bob</code>'],
  ];
  const found = await rendered(page, table.map(([text]) => text));
  assert.deepEqual(table.map(([text], i) => [text, found[i]]), table);
  // Whatever is written, every character of it is shown, and no element but those of the formats is made.
  const hostile = ['*'.repeat(4096), '`'.repeat(4095), '> '.repeat(2000), '- '.repeat(2000), '**a'.repeat(1300), '@Ada'.repeat(1000), '_a_'.repeat(1300),
    '[x](javascript:alert(1))', '<script>alert(1)</script>', '\u202e*a*', 'https://'.repeat(500)];
  const tags = await page.evaluate(async (all) => {
    const { rendered: render } = await import('/text.js');
    const made = document.createElement('div');
    for (const text of all) made.append(...render(text, { names: ['Ada'], own: 'Ada' }));
    return [...new Set([...made.querySelectorAll('*')].map((one) => one.tagName))].sort();
  }, hostile);
  const known = ['A', 'BLOCKQUOTE', 'CODE', 'DEL', 'EM', 'LI', 'OL', 'PRE', 'SPAN', 'STRONG', 'UL'];
  assert.deepEqual(tags.filter((tag) => !known.includes(tag)), []);
  noComplaints(page);
});

test('an address that somebody wrote opens elsewhere and tells nothing of this page', async () => {
  chat = await Chat.start(browser);
  const [ada, ben] = [await chat.guest('Ada'), await chat.guest('Ben')];
  await say(ada, `look: ${chat.url}favicon.svg`);
  const shown = ben.locator('#messages .body a');
  await shown.waitFor();
  const [popup] = await Promise.all([ben.context().waitForEvent('page'), shown.click()]);
  await popup.waitForLoadState();
  assert.equal(popup.url(), `${chat.url}favicon.svg`);
  assert.equal(await popup.evaluate(() => window.opener), null);
  assert.equal(await popup.evaluate(() => document.referrer), '');
  noComplaints(ada, ben);
});

test('people and emojis are completed while one writes, by keyboard and by pointer', async () => {
  chat = await Chat.start(browser);
  const [page, ben] = [await chat.guest('Ada'), await chat.guest('Ben Nevis')];
  const option = page.locator('#suggestions [role=option]');
  const text = field(page);
  await text.pressSequentially('hi @');
  await shows(page, () => option.allTextContents(), ['Ben Nevis']);
  await text.press('Enter');
  assert.equal(await text.inputValue(), 'hi @Ben Nevis ');
  await text.pressSequentially(':roc');
  await option.first().waitFor();
  assert.equal(await text.getAttribute('aria-activedescendant'), 'suggestion-0');
  await text.press('Escape');
  assert.equal(await option.count(), 0);
  await text.pressSequentially('k');
  await option.first().click();
  await text.pressSequentially(':tada: 10:30:00 a:b:c ');
  assert.equal(await text.inputValue(), 'hi @Ben Nevis 🚀 🎉 10:30:00 a:b:c ');
  // What is written can be undone as one thing.
  await text.press('Enter');
  await sees(ben, 'hi @Ben Nevis 🚀 🎉 10:30:00 a:b:c');
  assert.equal(await ben.locator('#messages .mention.me').textContent(), '@Ben Nevis');
  // The arrows choose among several.
  await text.pressSequentially(':hear');
  await option.nth(2).waitFor();
  await text.press('ArrowDown');
  assert.equal(await text.getAttribute('aria-activedescendant'), 'suggestion-1');
  const second = await option.nth(1).locator('.sign').textContent();
  await text.press('Tab');
  assert.equal(await text.inputValue(), `${second} `);
  noComplaints(page, ben);
});

test('an emoji is picked by name or by hand, for a text and for a reaction', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await page.getByRole('button', { name: 'Emoji', exact: true }).click();
  await page.getByLabel('Find an emoji').fill('ferris');
  await page.keyboard.press('Enter');
  assert.equal(await field(page).inputValue(), '🦀');
  await page.getByRole('button', { name: 'Emoji', exact: true }).click();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  assert.equal(await field(page).inputValue(), '🦀😃');
  await page.getByRole('button', { name: 'Emoji', exact: true }).click();
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('.picker').count(), 0);
  await field(page).press('Enter');
  await sees(page, '🦀😃');
  assert.ok(await page.locator('#messages .body.jumbo').isVisible());
  await openMenu(page, '🦀😃');
  await page.getByRole('button', { name: 'More emojis' }).click();
  await page.getByLabel('Find an emoji').fill('coffee');
  await page.locator('.picker .grid button').first().click();
  await page.getByRole('button', { name: '1 ☕, Ada' }).waitFor();
  // Every emoji of the picker is one that the server takes.
  const all = await page.evaluate(async () => (await import('/emoji.js')).groups.flatMap(({ emojis }) => emojis.map(({ emoji }) => emoji)));
  assert.ok(all.length > 350 && new Set(all).size === all.length, 'each once');
  const known = new RegExp('^\\p{RGI_Emoji}$', 'v');
  assert.deepEqual(all.filter((emoji) => !known.test(emoji)), []);
  noComplaints(page);
});

test('a reply quotes what it answers, and its draft can be put away', async () => {
  chat = await Chat.start(browser);
  const [ada, ben] = [await chat.guest('Ada'), await chat.guest('Ben')];
  await say(ben, '> @Ada: earlier\nthe **roses** are out');
  await message(ada, 'roses').waitFor();
  await openMenu(ada, 'roses');
  await ada.getByRole('button', { name: 'Reply', exact: true }).click();
  await ada.getByText('Reply to Ben').waitFor();
  assert.ok(await field(ada).evaluate((text) => text === document.activeElement));
  await ada.keyboard.type('good');
  await ada.keyboard.press('Enter');
  const quote = ben.locator('#messages .message').last();
  await quote.locator('blockquote .mention.me').waitFor();
  assert.equal(await quote.locator('blockquote').textContent(), '@Ben: the roses are out');
  assert.equal(await quote.locator('.body').evaluate((body) => body.lastChild.textContent), 'good');
  assert.ok(await ada.locator('#replying').isHidden());
  await openMenu(ada, 'good');
  await ada.getByRole('button', { name: 'Reply', exact: true }).click();
  await ada.keyboard.press('Escape');
  assert.ok(await ada.locator('#replying').isHidden());
  noComplaints(ada, ben);
});

test('a deletion can be undone for five seconds, and happens at once when the page goes away', async () => {
  chat = await Chat.start(browser);
  const [ada, ben] = [await chat.guest('Ada'), await chat.guest('Ben')];
  for (const text of ['keep', 'drop', 'leave']) await say(ada, text);
  await sees(ben, 'keep', 'drop', 'leave');
  const remove = async (text) => {
    await openMenu(ada, text);
    await ada.getByRole('button', { name: 'Delete', exact: true }).click();
    await ada.getByRole('button', { name: 'Undo' }).waitFor();
  };
  await remove('keep');
  assert.ok(await ada.getByRole('button', { name: 'Undo' }).evaluate((one) => one === document.activeElement), 'the keyboard is there');
  await ada.keyboard.press('Enter');
  await sees(ada, 'keep', 'drop', 'leave');
  await remove('drop');
  await sees(ben, 'keep', 'Deleted', 'leave');
  await remove('leave');
  await ada.goto(`${chat.url}favicon.svg`);
  await sees(ben, 'keep', 'Deleted', 'Deleted');
  noComplaints(ben);
});

test('the field grows with the text and keeps a draft for each room', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  const height = () => field(page).evaluate((text) => text.offsetHeight);
  const low = await height();
  await field(page).fill('a\nb\nc\nd');
  assert.ok(await height() > low * 1.8, 'it does not grow');
  await field(page).fill('x\n'.repeat(200));
  assert.ok(await height() < 260, 'it grows without end');
  await field(page).fill('in general');
  await enter(page, 'garden');
  await titled(page, '# garden');
  assert.equal(await field(page).inputValue(), '');
  await field(page).fill('in the garden');
  await page.goBack();
  await titled(page, '# general');
  assert.equal(await field(page).inputValue(), 'in general');
  await page.reload();
  await shows(page, () => field(page).inputValue(), 'in general');
  noComplaints(page);
});

test('Ctrl+B, Ctrl+I and Ctrl+E format what is selected, and Ctrl+Z takes it back', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await field(page).pressSequentially('word');
  for (const [key, expected] of [['b', '**word**'], ['i', '*word*'], ['e', '`word`']]) {
    await page.keyboard.press('Control+a');
    await page.keyboard.press(`Control+${key}`);
    assert.equal(await field(page).inputValue(), expected);
    await page.keyboard.press('Control+z');
    assert.equal(await field(page).inputValue(), 'word');
  }
  noComplaints(page);
});

test('what the server cannot store waits, says so, and is sent once it can', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  let isFull = true;
  await page.routeWebSocket('**/ws', (client) => {
    const upstream = client.connectToServer();
    client.onMessage((text) => {
      const { type, id } = JSON.parse(text);
      if (type === 'post' && isFull) client.send(JSON.stringify({ type: 'error', id, code: 'unavailable', message: 'disk full', retry_after_ms: 300 }));
      else upstream.send(text);
    });
  });
  await page.reload();
  await page.locator('#status[data-state=open]').waitFor();
  await say(page, 'patience');
  await page.getByText('the server cannot store messages at the moment').waitFor();
  assert.deepEqual(await bodies(page), []);
  isFull = false;
  await sees(page, 'patience');
  await until(async () => (await page.locator('#outbox li').count()) === 0, () => 'it waits for ever');
});
