// Two tabs on different loops of one process: the people in them do not notice.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import { bodies, Chat, field, noComplaints, roomNames, say, sees, shows } from './driver.js';
import { freePort, launchBrowser, until } from './harness.js';

const LOOPS = 2;
// The system gives each connection to one of the loops: that so many in a row come to the same one happens once in 2^30.
const MOST_TABS = 30;

let browser;
let chat;
let metrics;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

/** The connections of each loop; the one that asks is not counted. It is the first loop that answers. */
async function connections() {
  // Without an agent no connection is kept for the next request.
  const [answer] = await once(get(metrics, { agent: false }), 'response');
  const text = (await answer.setEncoding('utf8').toArray()).join('');
  const counts = Array.from({ length: LOOPS }, (_, loop) => Number(new RegExp(`^switchboard_loop_connections\\{loop="${loop}"\\} (\\d+)$`, 'm').exec(text)[1]));
  counts[0] -= 1;
  return counts;
}

const sum = (counts) => counts.reduce((total, count) => total + count, 0);

/** Waits until there are no other connections than those of so many tabs: what the page was loaded with is closed by then. */
async function settled(tabs) {
  let counts;
  await until(async () => {
    counts = await connections();
    return sum(counts) === tabs;
  }, () => `${tabs} connections expected, there are ${counts}`, 30_000);
  return counts;
}

/** A tab on another loop than the tabs that are there. Its loop is the one whose count rises when it comes. Of each tab that is
 *  closed again the count of that same loop must fall. */
async function onLoop(name, tabs, isWanted) {
  const before = await settled(tabs);
  for (let tries = 0; tries < MOST_TABS; tries += 1) {
    const page = await chat.signedIn(name);
    const counts = await settled(tabs + 1);
    const loop = counts.findIndex((count, at) => count > before[at]);
    if (isWanted(loop)) return { page, loop };
    await page.context().close();
    assert.deepEqual(await settled(tabs), before, `the tab was on loop ${loop}`);
  }
  return assert.fail(`${MOST_TABS} tabs in a row came to the same loop`);
}

const badge = (page, name) => page.locator('#rooms li', { hasText: name }).locator('.badge').allTextContents();
const openRoom = (page, name) => page.locator('#rooms').getByRole('button', { name }).first().click();

test('two people on different loops talk, type, write to each other and are told what is unread', async () => {
  const port = await freePort();
  metrics = `http://127.0.0.1:${port}/metrics`;
  chat = await Chat.start(browser, { isKept: true, args: ['--threads', String(LOOPS), '--internal-listen', `127.0.0.1:${port}`,
    '--keep-alive-timeout', '500'] });
  const { page: ada, loop: first } = await onLoop('Ada', 0, () => true);
  const { page: ben, loop: second } = await onLoop('Ben', 1, (loop) => loop !== first);
  assert.deepEqual([first, second].sort(), [0, 1]);
  assert.deepEqual(await settled(2), [1, 1]);

  for (const page of [ada, ben]) await shows(page, () => page.locator('#count').textContent(), '2');
  // Before Ben says anything: the page tells that one types once in two seconds.
  await field(ben).pressSequentially('well');
  await ada.getByText('Ben is typing…').waitFor();
  await say(ada, 'hello from one loop');
  await sees(ben, 'hello from one loop');
  await say(ben, 'and from the other');
  for (const page of [ada, ben]) await sees(page, 'hello from one loop', 'and from the other');

  await ada.getByRole('button', { name: 'Write to Ben' }).click();
  for (const text of ['one', 'two']) await say(ada, text);
  await sees(ada, 'one', 'two');
  await shows(ben, () => roomNames(ben), ['# general', '@Ada']);
  await shows(ben, () => badge(ben, '@Ada'), ['2 unread']);
  await openRoom(ben, '@Ada');
  await sees(ben, 'one', 'two');
  await shows(ben, () => badge(ben, '@Ada'), []);
  await say(ben, 'three');
  await sees(ada, 'one', 'two', 'three');

  // Ben is in the conversation: what is said in the room meanwhile is unread there.
  await openRoom(ada, 'general');
  await say(ada, 'is anybody here?');
  await shows(ben, () => badge(ben, '# general'), ['1 unread']);
  await openRoom(ben, 'general');
  await sees(ben, 'hello from one loop', 'and from the other', 'is anybody here?');

  // One tab goes, and its loop has nobody any more.
  await ben.context().close();
  await shows(ada, () => ada.locator('#count').textContent(), '1');
  const left = await settled(1);
  assert.deepEqual([left[first], left[second]], [1, 0]);
  assert.deepEqual(await bodies(ada), ['hello from one loop', 'and from the other', 'is anybody here?']);
  noComplaints(ada);
});
