// Starts the product: Switchboard and the backend. What they keep is in team-data.
//
//   npm start                     builds Switchboard where SWITCHBOARD_BIN does not name it
//   PORT=3000 CHAT_PORT=8090      where the two are

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { backend } from './backend.js';

const { SWITCHBOARD_BIN, PORT = '3000', CHAT_PORT = '8090', TEAM_DATA = 'team-data' } = process.env;
const root = fileURLToPath(new URL('../..', import.meta.url));
mkdirSync(TEAM_DATA, { recursive: true, mode: 0o700 });

/** A secret that is made at the first start. */
function secret(name) {
  const path = join(TEAM_DATA, name);
  if (!existsSync(path)) writeFileSync(path, randomBytes(32).toString('hex'), { mode: 0o600 });
  return [path, readFileSync(path, 'utf8')];
}
const [tokenFile, tokenKey] = secret('token-key');
const [hookFile, hookSecret] = secret('hook-secret');
const [apiFile, apiToken] = secret('api-token');

const here = `http://127.0.0.1:${PORT}`;
const server = backend({ users: join(TEAM_DATA, 'users.json'), chat: `http://127.0.0.1:${CHAT_PORT}`, tokenKey, hookSecret, apiToken });
server.listen(Number(PORT), '127.0.0.1', () => console.log(`the product is at ${here}`));

const options = ['serve', '--listen', `127.0.0.1:${CHAT_PORT}`, '--data', join(TEAM_DATA, 'chat'), '--no-page', '--allow-origin', here,
  '--token-key', tokenFile, '--require-token', '--token-name-claim', 'name', '--api-token-file', apiFile,
  '--hook-url', `${here}/hooks`, '--hook-secret-file', hookFile, '--hook-ask', 'join,post',
  '--hook-tell', 'posted,edited,deleted,joined,left,banned'];
const [command, first] = SWITCHBOARD_BIN ? [SWITCHBOARD_BIN, []]
  : ['cargo', ['run', '--quiet', '--release', '--manifest-path', join(root, 'Cargo.toml'), '--']];
// What the chat is told is all here: the environment has no settings for it.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SWITCHBOARD_')));
const chat = spawn(command, [...first, ...options], { env, stdio: ['ignore', 'inherit', 'inherit'] });
chat.on('error', (error) => {
  console.error(`${command} cannot be started: ${error.message}`);
  process.exit(1);
});
chat.on('exit', (code) => process.exit(code ?? 1));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => chat.kill('SIGTERM'));
