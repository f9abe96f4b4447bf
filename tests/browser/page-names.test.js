// Who one is on the page: guests, people who are signed in, and that nobody looks like somebody else.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Chat, field, isConnected, noComplaints, say, sees, shows } from './driver.js';
import { launchBrowser, until } from './harness.js';

let browser;
let chat;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());
afterEach(() => chat?.stop());

const nameField = (page) => page.getByLabel('Your name');

test('a fresh browser signs in with a token, which leaves the address at once', async () => {
  chat = await Chat.start(browser);
  for (const place of ['?token=', '#token=', '?x=1&token=']) {
    const page = await chat.open(place + chat.token('Cleo'));
    await page.locator('#text[placeholder="Message as Cleo"]').waitFor();
    assert.doesNotMatch(page.url(), /token/);
    assert.equal(await nameField(page).inputValue(), 'Cleo');
    assert.equal(await nameField(page).isEditable(), false);
    assert.ok(await page.locator('#people .verified').isVisible());
    noComplaints(page);
    await page.context().close();
  }
});

test('a token goes before the name that the browser remembers, and is remembered itself', async () => {
  chat = await Chat.start(browser);
  const page = await chat.guest('Ada');
  await page.goto(`${chat.url}?token=${chat.token('Cleo')}`);
  await page.locator('#text[placeholder="Message as Cleo"]').waitFor();
  await say(page, 'it is me');
  await sees(page, 'it is me');
  assert.ok(await page.locator('#messages .own .verified').isVisible());
  await page.reload();
  await page.locator('#text[placeholder="Message as Cleo"]').waitFor();
  assert.equal(await nameField(page).isEditable(), false);
  // Another tab of the same browser is signed in, too.
  const other = await page.context().newPage();
  await other.goto(chat.url);
  await other.locator('#text[placeholder="Message as Cleo"]').waitFor();
  await other.close();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('#text[placeholder="Message as Ada"]').waitFor();
  assert.equal(await nameField(page).isEditable(), true);
  noComplaints(page);
});

test('a token that the server refuses is said to be refused, and one goes on as a guest', async () => {
  chat = await Chat.start(browser, { args: ['--token-audience', 'ours'] });
  const tokenFor = (audience) => chat.token('Cleo', '--audience', audience);
  for (const token of [tokenFor('ours').slice(0, -6), 'rubbish', tokenFor('others')]) {
    const page = await chat.open(`?token=${token}`, { isOpen: false });
    await page.getByText('You could not be signed in').waitFor();
    assert.doesNotMatch(await page.locator('#status').textContent(), /retrying|Trying/);
    await page.getByRole('button', { name: 'Continue as a guest' }).click();
    await isConnected(page);
    assert.match(await nameField(page).inputValue(), /^Guest/);
    await say(page, 'here');
    await page.locator('#messages').getByText('here').last().waitFor();
    await page.context().close();
  }
});

test('a session that ends with its token is said to have expired', async () => {
  chat = await Chat.start(browser, { args: ['--token-leeway', '0'] });
  const page = await chat.open(`?token=${chat.token('Cleo', '--expires', '5s')}`);
  await page.getByText('Your sign-in has expired.').waitFor({ timeout: 15_000 });
  assert.equal(await page.locator('#status').getAttribute('data-why'), 'token_expired');
  await page.getByRole('button', { name: 'Continue as a guest' }).click();
  await isConnected(page);
});

test('a server that asks for a token says so', async () => {
  chat = await Chat.start(browser, { args: ['--require-token'] });
  const page = await chat.open('', { isOpen: false });
  await page.getByText('This server is for people who are signed in.').waitFor();
  await page.goto(`${chat.url}?token=${chat.token('Cleo')}`);
  await isConnected(page);
  assert.equal(await nameField(page).inputValue(), 'Cleo');
});

test('names that end like a mark look unverified, and the mark is no text', async () => {
  chat = await Chat.start(browser);
  const cleo = await chat.signedIn('Ada');
  await say(cleo, 'real');
  const names = ['Ada ✓', 'Ada (you)', 'Ada ✅', 'Ada [verified]'];
  for (const name of names) {
    const page = await chat.guest(name);
    await say(page, `I am ${name}`);
    await page.close();
  }
  const page = await chat.guest('Ben');
  const seen = await page.locator('#messages .message').evaluateAll((items) => items.map((item) => ({
    name: item.querySelector('.author').textContent,
    marks: [...item.querySelectorAll('svg.verified')].map((mark) => mark.getAttribute('aria-label')),
    // What comes with the name as text.
    tags: [...item.querySelectorAll('.tag')].map((tag) => tag.textContent),
  })));
  assert.deepEqual(seen[0], { name: 'Ada', marks: ['verified'], tags: [] });
  assert.deepEqual(seen.slice(1), names.map((name) => ({ name, marks: [], tags: ['not verified'] })));
  assert.equal(await page.getByRole('img', { name: 'verified' }).count(), 2, 'the message and Ada among the people');
  noComplaints(page, cleo);
});

test('who signs out leaves nothing of theirs to the next one, and sends nothing under another name', async () => {
  chat = await Chat.start(browser);
  const [ada, ben] = [await chat.signedIn('Ada'), await chat.signedIn('Ben')];
  await ada.getByRole('button', { name: 'Write to Ben' }).click();
  await say(ada, 'between us');
  await sees(ada, 'between us');
  await chat.server.stop();
  await ada.locator('#status[data-state=closed]').waitFor();
  await say(ada, 'written as Ada');
  await ada.getByRole('button', { name: 'Sign out' }).click();
  await chat.server.start();
  await isConnected(ada);
  await shows(ada, () => ada.locator('#rooms .room-name').allTextContents(), ['# general']);
  await sees(ada);
  await ada.waitForTimeout(500);
  assert.equal(await ben.getByText('written as Ada').count(), 0);
  // Ada comes back, and so does what she wrote.
  await isConnected(ben);
  await ada.goto(`${chat.url}?token=${chat.token('Ada')}`);
  await ben.locator('#rooms').getByRole('button', { name: '@Ada' }).first().click();
  await ben.locator('#messages').getByText('written as Ada').waitFor();
});

test('a name that looks like that of a verified person is told apart, wherever it is shown', async () => {
  chat = await Chat.start(browser);
  const ada = await chat.signedIn('Ada');
  await say(ada, 'real');
  // The first letter is Cyrillic.
  const cyrillic = 'Аda';
  const fake = await chat.guest(cyrillic);
  await say(fake, 'fake');
  const page = await chat.guest('Ben');
  await sees(page, 'real', 'fake');
  const warnings = (list) => page.locator(`${list} li`, { hasText: cyrillic }).locator('.tag.warning');
  for (const list of ['#messages', '#people']) {
    await shows(page, () => warnings(list).allTextContents(), ['not verified']);
    assert.equal(await page.locator(`${list} li`, { hasText: cyrillic }).locator('.verified').count(), 0);
  }
  await page.getByLabel('Search in this room').fill('fake');
  await page.getByLabel('Search in this room').press('Enter');
  await shows(page, () => warnings('#found-list').allTextContents(), ['not verified']);
  noComplaints(ada, page, fake);
});

test('a reaction of a guest is not taken for that of a signed-in person of the same name', async () => {
  chat = await Chat.start(browser);
  const ada = await chat.signedIn('Ada');
  await say(ada, 'mine');
  await sees(ada, 'mine');
  await ada.routeWebSocket('**/ws', (socket) => {
    const server = socket.connectToServer();
    server.onMessage((text) => {
      const value = JSON.parse(text);
      if (value.type === 'joined') Object.assign(value.messages[0], { reactions: { '👍': ['Ada'], '🎉': ['Ada', 'Ada'] }, reactions_verified: { '🎉': ['Ada'] } });
      socket.send(JSON.stringify(value));
    });
  });
  await ada.reload();
  await sees(ada, 'mine');
  const pressed = () => ada.locator('.chip').evaluateAll((chips) => chips.map((chip) => [chip.textContent, chip.getAttribute('aria-pressed')]));
  await shows(ada, pressed, [['👍 1', 'false'], ['🎉 2', 'true']]);
});

test('a message to one person keeps its mark', async () => {
  chat = await Chat.start(browser);
  const [ada, ben, guest] = [await chat.signedIn('Ada'), await chat.signedIn('Ben'), await chat.guest('Sam')];
  await ada.getByRole('button', { name: 'Write to Ben' }).click();
  await say(ada, 'between us');
  await ben.locator('#rooms').getByRole('button', { name: '@Ada' }).first().click();
  await sees(ben, 'between us');
  assert.equal(await ben.locator('#messages .verified').count(), 1);
  await guest.getByRole('button', { name: 'Write to Ada' }).click();
  await say(guest, 'I am nobody');
  await ada.locator('#rooms').getByRole('button', { name: '@Sam' }).first().click();
  await sees(ada, 'I am nobody');
  assert.equal(await ada.locator('#messages .verified').count(), 0);
  noComplaints(ada, ben, guest);
});

test('a message of a guest is not taken for that of a signed-in person of the same name', async () => {
  chat = await Chat.start(browser);
  const guest = await chat.guest('Ada');
  await say(guest, 'I was here first');
  await sees(guest, 'I was here first');
  const ada = await chat.signedIn('Ada');
  await sees(ada, 'I was here first');
  assert.equal(await ada.locator('#messages .own').count(), 0);
  await guest.getByText('Somebody who is signed in has this name.').waitFor();
  assert.equal(await guest.locator('#status').getAttribute('data-why'), 'name_taken');
  await guest.getByRole('button', { name: 'Choose another name' }).click();
  await nameField(guest).fill('Grace');
  await nameField(guest).press('Enter');
  await isConnected(guest);
  await until(async () => (await field(guest).getAttribute('placeholder')) === 'Message as Grace', () => 'not Grace');
  await shows(guest, () => guest.locator('#notice').textContent(), '');
});
