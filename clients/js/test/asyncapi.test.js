// The description of the protocol is one that AsyncAPI's own parser takes, without a complaint.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import asyncapi from '@asyncapi/parser';

test('asyncapi.json is AsyncAPI 3', async () => {
  const source = readFileSync(new URL('../../../src/api/asyncapi.json', import.meta.url), 'utf8');
  const { document, diagnostics } = await new asyncapi.Parser().parse(source);
  assert.deepEqual(diagnostics.map(({ code, path, message }) => `${code} at ${path.join('.')}: ${message}`), []);
  assert.ok(document.version().startsWith('3.'));
  assert.ok(document.allMessages().length >= 50, `${document.allMessages().length} messages`);
  // The parser looks: a document with a fault is not taken.
  const { diagnostics: found } = await new asyncapi.Parser().parse(source.replace('"action": "receive"', '"action": "hear"'));
  assert.ok(found.length > 0);
});
