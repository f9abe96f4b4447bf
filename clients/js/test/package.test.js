// The package: what is in it, how large it is, what it needs; its types; and the examples of its README, run as they stand.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import vm from 'node:vm';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { Server, until } from './support.js';

const ROOT = join(import.meta.dirname, '..');
const MOST_BYTES = 12 * 1024;

const run = (command, args, options = {}) => spawnSync(command, args, { cwd: ROOT, encoding: 'utf8', ...options });

async function bundled(options) {
  const { outputFiles: [{ contents }] } = await build({ entryPoints: [join(ROOT, 'src/index.js')], bundle: true, minify: true, write: false, target: 'es2022', ...options });
  return Buffer.from(contents);
}

test('minified and compressed it takes less than 12 KiB', async () => {
  const { length } = gzipSync(await bundled({ format: 'esm' }), { level: 9 });
  console.log(`${length} bytes`);
  assert.ok(length < MOST_BYTES, `${length} bytes`);
});

test('nothing of a browser or of Node.js is touched when it is imported', async () => {
  // A context that has the language alone: no timers, no document, no process.
  const context = vm.createContext({ });
  vm.runInContext((await bundled({ format: 'iife', globalName: 'chat' })).toString(), context);
  assert.deepEqual(vm.runInContext('Object.keys(chat).sort().join()', context),
    'Client,Disconnected,Piece,Refused,Room,environmentOf,keyOf,memoryStore,mentions,webStore');
  assert.equal(vm.runInContext('new chat.Client({ url: "ws://localhost/ws" }).state.at', context), 'stopped');
});

test('it depends on nothing, and holds its sources, its types and its README', () => {
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  assert.deepEqual([dependencies, peerDependencies], [undefined, undefined]);
  const { status, stdout, stderr } = run('npm', ['pack', '--ignore-scripts', '--dry-run', '--json', '--loglevel=error']);
  assert.equal(status, 0, stderr);
  const [{ files }] = JSON.parse(stdout.slice(stdout.indexOf('[')));
  const names = files.map(({ path }) => path);
  for (const name of ['README.md', 'package.json', 'src/index.js', 'src/client.js', 'types/index.d.ts', 'types/client.d.ts']) assert.ok(names.includes(name), `${name} is not in ${names}`);
  assert.deepEqual(names.filter((name) => !/^(src\/[\w]+\.js|types\/[\w]+\.d\.ts|README\.md|package\.json)$/.test(name)), []);
});

test('what is packed can be installed elsewhere, with types that a program of TypeScript is checked by', () => {
  const directory = mkdtempSync(join(tmpdir(), 'switchboard-pack-'));
  try {
    assert.equal(run('npm', ['pack', '--ignore-scripts', '--pack-destination', directory, '--loglevel=error']).status, 0);
    const { version, name } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    writeFileSync(join(directory, 'package.json'), '{"private":true,"type":"module"}');
    const installed = run('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${name}-${version}.tgz`], { cwd: directory });
    assert.equal(installed.status, 0, installed.stderr);
    writeFileSync(join(directory, 'main.ts'), readFileSync(join(ROOT, 'test/types.ts')));
    const checked = run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--strict', '--noEmit', '--target', 'es2022', '--module', 'nodenext',
      '--lib', 'es2023,dom', 'main.ts'], { cwd: directory });
    assert.equal(checked.status, 0, checked.stdout);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('the examples of the README run', { timeout: 120_000 }, async () => {
  const server = await Server.start();
  const directory = join(ROOT, 'test/tmp');
  after(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(directory, { recursive: true });
  try {
    const examples = [...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
    assert.ok(examples.length >= 4, `${examples.length} examples`);
    // Somebody is there to be talked to.
    const robot = await server.client({ user: 'Robot', rooms: ['general'] });
    await until(() => robot.find('general').isLive, 'not in');
    for (const [i, code] of examples.entries()) {
      const file = join(directory, `example-${i}.mjs`);
      writeFileSync(file, code.replaceAll('wss://chat.example/ws', server.url));
      const { status, stderr, stdout } = run(process.execPath, [file], { timeout: 30_000, env: { ...process.env, TOKEN: server.token('Ada') } });
      assert.equal(status, 0, `example ${i}: ${stdout}${stderr}\n${code}`);
    }
  } finally {
    await server.stop();
  }
});
