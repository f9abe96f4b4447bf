// The client where there is neither Node.js nor a page: in Bun and in Deno, with the WebSocket that they bring.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Server } from './support.js';

const PROGRAM = `
import { Client, Refused } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)};
const url = globalThis.Deno ? Deno.args[0] : process.argv[2];
const [ada, ben] = [new Client({ url, user: 'Ada' }), new Client({ url, user: 'Ben' })];
ada.start();
ben.start();
const [room, other] = [await ada.join('r'), await ben.join('r')];
const heard = new Promise((resolve) => ben.on('message', (where, message) => resolve([where.name, message.user, message.text])));
const { durable } = await ada.say(room, 'hello');
const refused = await ada.join('not a name').catch((error) => error instanceof Refused && error.field);
console.log(JSON.stringify([durable, await heard, refused, other.messages.length > 0]));
ada.stop();
ben.stop();
`;

let server;
before(async () => { server = await Server.start(); });
after(() => server.stop());

for (const [name, args] of [['bun', []], ['deno', ['run', '--no-config', '--allow-net=127.0.0.1', '--allow-read']]]) {
  test(`in ${name}`, { timeout: 60_000 }, async () => {
    const bin = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), '..', '.bin', name);
    const program = join(server.directory, `${name}.mjs`);
    writeFileSync(program, PROGRAM);
    const child = spawn(bin, [...args, program, server.url], { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (text) => { output.out += text; });
    child.stderr.setEncoding('utf8').on('data', (text) => { output.err += text; });
    const [code] = await once(child, 'close');
    assert.equal(code, 0, output.err);
    assert.deepEqual(JSON.parse(output.out), ['disk', ['r', 'Ada', 'hello'], 'room', true]);
  });
}
