// Two people chat in Chromium with a server that runs already: `node packaging/chat.mjs http://127.0.0.1:PORT/`, after `npm ci` in
// tests/browser. packaging/test.sh does it with the server of the package.

import { launchBrowser, until } from '../tests/browser/harness.js';

const browser = await launchBrowser();
try {
  const [ada, bob] = await Promise.all(['Ada', 'Bob'].map(async (name) => {
    const page = await (await browser.newContext()).newPage();
    await page.goto(process.argv[2]);
    await page.locator('#status[data-state=open]').waitFor();
    await page.getByLabel('Your name').fill(name);
    await page.getByLabel('Your name').press('Enter');
    await page.locator(`#text[placeholder="Message as ${name}"]`).waitFor();
    return page;
  }));
  const shown = (page, text) => page.locator('#messages .message', { hasText: text }).waitFor();
  await ada.locator('#text').fill('hello from the package');
  await ada.locator('#text').press('Enter');
  await Promise.all([shown(ada, 'hello from the package'), shown(bob, 'hello from the package')]);
  await until(() => bob.locator('#people li').count().then((count) => count >= 2), () => 'Bob does not see Ada');
} finally {
  await browser.close();
}
