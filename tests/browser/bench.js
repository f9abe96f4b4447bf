// What the chat page costs, in figures: bytes, time to the first message on a cold start, and milliseconds for each new message
// with 500, 5,000 and 50,000 in the tab. Nothing is asserted: how long things take is the machine's affair.
//
//   SWITCHBOARD_BIN=target/release/switchboard node tests/browser/bench.js [DIRECTORY OF A PAGE]

import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Chat, lines } from './driver.js';
import { launchBrowser } from './harness.js';

const SIZES = [500, 5_000, 50_000];
const POSTS = 600; // ten seconds of 60 a second
const STARTS = 7;

const source = process.argv[2] ?? join(import.meta.dirname, '../../src/chat/page');
const directory = mkdtempSync(join(tmpdir(), 'switchboard-bench-'));
cpSync(source, directory, { recursive: true });
const client = join(import.meta.dirname, '../../clients/js/src');
if (!existsSync(join(source, 'client'))) cpSync(client, join(directory, 'client'), { recursive: true });
cpSync(join(import.meta.dirname, 'pages/many.js'), join(directory, 'many.js'));
const index = readFileSync(join(directory, 'index.html'), 'utf8');
writeFileSync(join(directory, 'many.html'), index.replace('<script type="module"', '<script src="many.js"></script>\n  <script type="module"'));

const browser = await launchBrowser();
const chat = await Chat.start(browser, { args: ['--page', directory], lines: lines('general', 50) });
try {
  const filesOf = (where) => readdirSync(where).map((name) => join(where, name)).filter((file) => statSync(file).isFile());
  const files = [...filesOf(directory).filter((file) => !/many\.(js|html)$/.test(file)), ...filesOf(join(directory, 'client'))];
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  const packed = files.reduce((sum, file) => sum + gzipSync(readFileSync(file)).length, 0);
  console.log(`${files.length} files, ${bytes} bytes, ${packed} bytes with gzip`);
  const starts = [];
  for (let i = 0; i < STARTS; i += 1) {
    const page = await (await chat.context()).newPage();
    await page.addInitScript(() => {
      new MutationObserver((_, observer) => {
        if (!document.querySelector('#messages .message')) return;
        observer.disconnect();
        requestAnimationFrame(() => { window.firstMessageMs = performance.now(); });
      }).observe(document, { childList: true, subtree: true });
    });
    await page.goto(chat.url);
    await page.waitForFunction(() => window.firstMessageMs);
    starts.push(await page.evaluate(() => window.firstMessageMs));
    await page.context().close();
  }
  starts.sort((a, b) => a - b);
  console.log(`first message on a cold start: median ${starts[STARTS >> 1].toFixed(0)} ms, of ${STARTS}`);
  const page = await chat.open('many.html');
  for (const size of SIZES) console.log(JSON.stringify(await page.evaluate(([total, posts]) => window.bench(total, posts), [size, POSTS])));
} finally {
  await chat.stop();
  await browser.close();
  rmSync(directory, { recursive: true, force: true });
}
