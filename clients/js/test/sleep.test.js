// A laptop that was closed, or a telephone that was in a pocket: when it wakes all timers are overdue at once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server } from './support.js';

/** Longer than the client waits for an answer. */
const SLEEP_MS = 15_300;

test('an answer that came while the machine slept is taken', async () => {
  const server = await Server.start();
  try {
    const ada = await server.client({ user: 'Ada' });
    await ada.join('r');
    const asked = ada.ask({ type: 'who', room: 'r' });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SLEEP_MS);
    assert.equal((await asked).type, 'members');
    assert.equal(ada.state.at, 'open');
  } finally {
    await server.stop();
  }
});
