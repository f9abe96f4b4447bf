// loadgen beside a generator that shares no line with it (the client of `ws`): the same plan on the same server.
// Figures are printed, not asserted: how long things take is the machine's affair.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { freePort, Server } from './harness.js';

const CONNECTIONS = 10, RATE = 1000, SECONDS = 3, SIZE = 20;
let server, directory;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'independent-'));
  const port = await freePort();
  server = new Server(process.env.SWITCHBOARD_BIN, ['echo', '--listen', `127.0.0.1:${port}`], port);
  await server.start();
});

after(async () => {
  await server?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** An open loop: message k is planned for start + k / RATE, whatever was answered. Latencies in microseconds. */
async function independent() {
  const url = `ws://127.0.0.1:${server.port}/`;
  const sockets = Array.from({ length: CONNECTIONS }, () => new WebSocket(url, { perMessageDeflate: false }));
  await Promise.all(sockets.map((socket) => once(socket, 'open')));
  const total = RATE * SECONDS, latencies = [];
  const { promise: done, resolve } = Promise.withResolvers?.() ?? (() => {
    let resolve;
    return { promise: new Promise((settle) => { resolve = settle; }), resolve };
  })();
  const start = performance.now();
  const planned = (k) => start + k * 1000 / RATE;
  for (const socket of sockets) {
    socket.on('message', (data) => {
      latencies.push((performance.now() - planned(data.readUInt32LE(0))) * 1000);
      if (latencies.length === total) resolve();
    });
  }
  let sent = 0;
  const pump = () => {
    for (; sent < total && planned(sent) <= performance.now(); sent += 1) {
      const payload = Buffer.alloc(SIZE);
      payload.writeUInt32LE(sent, 0);
      sockets[sent % CONNECTIONS].send(payload);
    }
    if (sent < total) setImmediate(pump);
  };
  pump();
  await done;
  await Promise.all(sockets.map((socket) => {
    socket.close();
    return once(socket, 'close');
  }));
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.min(Math.floor(latencies.length * share), latencies.length - 1)];
  return { sent, answered: latencies.length, p50: at(.5), p99: at(.99) };
}

async function ours() {
  const file = join(directory, 'report.json');
  const args = ['echo', `ws://127.0.0.1:${server.port}/`, '--connections', `${CONNECTIONS}`, '--rate', `${RATE}`,
    '--duration', `${SECONDS}s`, '--warmup', '0s', '--size', `${SIZE}`, '--json', file];
  await new Promise((resolve, reject) => {
    execFile(process.env.LOADGEN_BIN, args, (error, stdout) => (error ? reject(new Error(stdout)) : resolve()));
  });
  const { sent, answered, latency_from_plan_ns: latency } = JSON.parse(await readFile(file, 'utf8'));
  return { sent, answered, p50: latency.p50 / 1000, p99: latency.p99 / 1000 };
}

test('two generators with one plan send and get the same number of messages', async (context) => {
  for (let round = 1; round <= 2; round += 1) {
    for (const [name, generator] of [['loadgen', ours], ['ws', independent]]) {
      const { sent, answered, p50, p99 } = await generator();
      assert.deepEqual([sent, answered], [RATE * SECONDS, RATE * SECONDS], name);
      assert.ok(p50 > 0 && p99 >= p50, name);
      context.diagnostic(`${name}, round ${round}: p50 ${p50.toFixed(0)} us, p99 ${p99.toFixed(0)} us from the planned instant`);
    }
  }
});
