// The reports of loadgen: the page in a browser, and the JSON by its schema.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import Ajv2020 from 'ajv/dist/2020.js';
import { complaintsOf, freePort, launchBrowser, screenshots, Server } from './harness.js';

const loadgen = process.env.LOADGEN_BIN;
const schemaFile = fileURLToPath(new URL('../../loadgen/report.schema.json', import.meta.url));
let directory, browser, validate;
const servers = {};

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'loadgen-'));
  browser = await launchBrowser();
  validate = new Ajv2020({ allowUnionTypes: true }).compile(JSON.parse(await readFile(schemaFile, 'utf8')));
  for (const kind of ['echo', 'fanout', 'serve']) {
    const port = await freePort();
    const args = kind === 'serve' ? ['--ephemeral', '--port', `${port}`] : [kind, '--listen', `127.0.0.1:${port}`];
    servers[kind] = new Server(process.env.SWITCHBOARD_BIN, args, port);
    await servers[kind].start();
  }
});

after(async () => {
  await browser?.close();
  for (const server of Object.values(servers)) await server.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Runs loadgen; returns its exit status and where it wrote its reports. */
async function flood(scenario, server, ...options) {
  const name = join(directory, `${scenario}-${Math.random().toString(36).slice(2)}`);
  const files = { json: `${name}.json`, html: `${name}.html` };
  const url = `ws://127.0.0.1:${server.port}/`;
  const args = [scenario, url, '--json', files.json, '--html', files.html, ...options];
  const status = await new Promise((resolve) => {
    execFile(loadgen, args, (error) => resolve(error ? error.code : 0));
  });
  return { status, ...files };
}

async function checked(file) {
  const report = JSON.parse(await readFile(file, 'utf8'));
  assert.ok(validate(report), JSON.stringify(validate.errors));
  return report;
}

const runs = [
  ['echo', 'echo', ['--duration', '300ms', '--assert', 'lost==0', '--pid', `${process.pid}`]],
  ['echo', 'echo', ['--duration', '500ms', '--rate', '2000', '--size', '20-200', '--assert', 'p50<1ns']],
  ['fanout', 'fanout', ['--duration', '300ms', '--publishers', '3', '--connections', '20']],
  ['chat', 'serve', ['--duration', '300ms', '--connections', '5', '--rate', '100']],
  ['idle', 'echo', ['--duration', '200ms']],
  ['churn', 'echo', ['--duration', '300ms', '--connections', '8', '--rate', '200']],
  ['slow', 'echo', ['--duration', '300ms', '--connections', '10']],
  ['storm', 'echo', ['--connections', '20', '--rounds', '2', '--pause', '20ms']],
];

for (const [scenario, server, options] of runs) {
  test(`the report of ${scenario} ${options.join(' ')} keeps to its schema and is drawn`, async () => {
    const { status, json, html } = await flood(scenario, servers[server], ...options);
    assert.equal(status, options.includes('p50<1ns') ? 3 : 0);
    const report = await checked(json);
    assert.equal(report.scenario, scenario);

    const page = await browser.newPage({ viewport: { width: 1000, height: 1500 } });
    const complaints = complaintsOf(page), requests = [];
    page.on('request', (request) => requests.push(request.url()));
    await page.goto(pathToFileURL(html).href);
    assert.deepEqual(complaints, []);
    assert.deepEqual(requests, [pathToFileURL(html).href], 'the page loads nothing else');
    assert.equal(await page.textContent('h1'), `loadgen ${scenario}`);
    assert.match(await page.textContent('#verdict'), status === 0 ? /^ok/ : /^failed: 1 of 1 assertions broken/);
    assert.match(await page.textContent('#text'), /^loadgen /);
    if (report.intervals.some(({ answered }) => answered > 0)) {
      assert.ok(await page.locator('#throughput polyline').count() === 1, 'throughput is drawn');
      assert.ok(await page.locator('#heat rect').count() > 0, 'the heat map is drawn');
    }
    const curves = await page.locator('#percentiles polyline').count();
    assert.equal(curves, report.intervals_of === 'send' ? 1 : 2, 'a curve for each latency');
    const planned = report.intervals.some(({ sent }) => sent > 0);
    assert.equal(await page.locator('#drift polyline').count(), planned ? 1 : 0, 'the drift of a schedule');
    const drawn = await page.locator('svg').evaluateAll((charts) => charts.map((chart) => chart.outerHTML).join());
    assert.doesNotMatch(drawn, /NaN|Infinity|undefined/);
    if (screenshots && scenario === 'echo') {
      await page.screenshot({ path: join(screenshots, `loadgen-${options.includes('--rate') ? 'open' : 'closed'}.png`), fullPage: true });
    }
    await page.close();
  });
}

test('a report that was made up is not valid', async () => {
  const { json } = await flood('idle', servers.echo, '--duration', '100ms', '--connections', '1');
  const report = await checked(json);
  for (const wrong of [{ ...report, lost: -1 }, { ...report, schema: 'other' }, { ...report, more: 1 }]) {
    assert.equal(validate(wrong), false);
  }
});

test('on a phone the charts can be read, and the page is as wide as the screen', async () => {
  const { html } = await flood('echo', servers.echo, '--duration', '600ms', '--rate', '500');
  const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
  await page.goto(pathToFileURL(html).href);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
  const heights = await page.locator('#throughput svg text').evaluateAll((texts) => texts.map((text) => text.getBoundingClientRect().height));
  assert.ok(heights.length > 6 && heights.every((height) => height >= 9), heights.join());
  const labels = await page.locator('#throughput svg text').allTextContents();
  assert.ok(labels.includes('100 ms') && labels.every((label) => !/\d{3}\.\d|[1-9]\d[1-9]/.test(label)), labels.join());
  await page.close();
});

test('a run that fails is drawn, too', async () => {
  const { status, json, html } = await flood('echo', servers.fanout, '--connections', '3', '--messages', '5');
  assert.equal(status, 1);
  assert.equal((await checked(json)).verdict, 'failed');
  const page = await browser.newPage();
  const complaints = complaintsOf(page);
  await page.goto(pathToFileURL(html).href);
  assert.deepEqual(complaints, []);
  assert.equal(await page.textContent('#verdict'), 'failed');
  await page.close();
});

test('two runs are drawn on one page, with what was changed', async () => {
  const before = await flood('echo', servers.echo, '--duration', '500ms', '--annotate', 'before <i>it</i>');
  const after = await flood('echo', servers.echo, '--duration', '700ms', '--annotate', 'after it');
  const file = join(directory, 'two.html');
  await new Promise((resolve, reject) => {
    execFile(loadgen, ['compare', before.json, after.json, '--html', file], (error) => error ? reject(error) : resolve());
  });
  const page = await browser.newPage({ viewport: { width: 1000, height: 1700 } });
  const complaints = complaintsOf(page);
  await page.goto(pathToFileURL(file).href);
  assert.deepEqual(complaints, []);
  assert.equal(await page.textContent('h1'), 'loadgen echo: two runs');
  assert.equal(await page.locator('#throughput polyline').count(), 2);
  assert.equal(await page.locator('#percentiles polyline').count(), 2);
  for (const chart of ['#heat', '#heat-base']) assert.ok(await page.locator(`${chart} rect`).count() > 0, chart);
  const facts = await page.locator('#facts tr').allTextContents();
  assert.ok(facts.some((row) => row === 'annotationafter itbefore <i>it</i>'), facts.join());
  assert.ok(facts.some((row) => row.startsWith('machine')) && facts.some((row) => row.includes('--annotate')), facts.join());
  const ratios = await page.locator('#ratios tr').allTextContents();
  assert.match(ratios[1], /^rate[\d,]+\d[\d,]*\.\d{3}x/);
  const drawn = await page.locator('svg').evaluateAll((charts) => charts.map((chart) => chart.outerHTML).join());
  assert.doesNotMatch(drawn, /NaN|Infinity|undefined/);
  if (screenshots) await page.screenshot({ path: join(screenshots, 'loadgen-two.png'), fullPage: true });
  await page.close();
});
