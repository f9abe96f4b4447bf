// The backend of the product: sign-in, the page, tokens for the chat, hooks, and what moderators do.

import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import { Hooks, isSigned } from './hooks.js';
import { Users } from './users.js';

const MAX_BODY = 1 << 20;
const TOKEN_LIFE = '5m';
const TYPES = { '.css': 'text/css', '.html': 'text/html; charset=utf-8', '.js': 'text/javascript' };
const PAGE = fileURLToPath(new URL('page', import.meta.url));
const CLIENT = dirname(fileURLToPath(import.meta.resolve('switchboard-chat')));

/** A refusal, with its status. */
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {{ users: string, chat: string, tokenKey: string, hookSecret: string, apiToken: string }} options
 *   `users` is a file, `chat` the address of Switchboard; the rest are secrets that it knows, too
 */
export function backend({ users: path, chat, tokenKey, hookSecret, apiToken }) {
  const users = new Users(path);
  const hooks = new Hooks(users);
  /** Session -> id of the user. They end with the process. */
  const sessions = new Map();

  const signedIn = (request) => {
    const session = /(?:^|; )session=([0-9a-f]+)/.exec(request.headers.cookie ?? '')?.[1];
    const user = users.find(sessions.get(session));
    if (!user || user.suspended) throw new Refusal(401, 'Please sign in.');
    return user;
  };
  const moderator = (request) => {
    const user = signedIn(request);
    if (user.role !== 'moderator') throw new Refusal(403, 'Moderators only.');
    return user;
  };
  const shown = ({ name, team, role }) => ({ name, team, role, chat: `${chat.replace(/^http/, 'ws')}/ws` });

  /** A token says who somebody is; what they may do is asked by the hooks. */
  const token = ({ id, name, role }) => {
    const rooms = role === 'moderator' ? { '*': ['join', 'post', 'moderate'] } : undefined;
    return new SignJWT({ name, rooms }).setProtectedHeader({ alg: 'HS256' }).setSubject(id).setExpirationTime(TOKEN_LIFE)
      .sign(new TextEncoder().encode(tokenKey));
  };

  /** The API of the chat. */
  const call = async (method, way, body) => {
    const headers = { authorization: `Bearer ${apiToken}`, 'content-type': 'application/json' };
    const answer = await fetch(`${chat}/api/v1/${way}`, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Refusal(502, `the chat answered ${answer.status}: ${await answer.text()}`);
  };

  const routes = {
    async 'POST /sign-in'(request, response) {
      const { login, password } = JSON.parse(await read(request));
      const user = users.signIn(login, password);
      if (!user) throw new Refusal(403, 'This name and password do not go together, or the account is suspended.');
      const session = randomBytes(16).toString('hex');
      sessions.set(session, user.id);
      response.setHeader('set-cookie', `session=${session}; HttpOnly; SameSite=Strict; Path=/`);
      return shown(user);
    },
    'GET /me': (request) => shown(signedIn(request)),
    'GET /chat-token': async (request) => ({ token: await token(signedIn(request)) }),
    'GET /audit': (request) => {
      moderator(request);
      return hooks.audit;
    },
    async 'POST /ban'(request) {
      moderator(request);
      const { name, reason, lift } = JSON.parse(await read(request));
      const user = users.named(name);
      if (!user || user.role === 'moderator') throw new Refusal(404, 'There is no such member.');
      users.suspend(user, !lift);
      if (lift) await call('DELETE', `bans/${encodeURIComponent(name)}`);
      else await call('PUT', `bans/${encodeURIComponent(name)}`, { reason });
      return {};
    },
    async 'POST /hooks'(request) {
      const body = await read(request);
      if (!isSigned(hookSecret, request.headers['switchboard-signature'], body)) throw new Refusal(401, 'not signed');
      const value = JSON.parse(body);
      if (request.headers['switchboard-hook'] === 'ask') return hooks.answer(value);
      hooks.take(value);
      return {};
    },
  };

  return createServer(async (request, response) => {
    const way = request.url.split('?')[0];
    try {
      const route = routes[`${request.method} ${way}`];
      if (route) {
        const value = await route(request, response);
        response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
      } else if (request.method === 'GET') await serve(way, response);
      else throw new Refusal(404, 'There is nothing here.');
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof SyntaxError)) console.error(error);
      const status = error.status ?? (error instanceof SyntaxError ? 400 : 500);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ message: error.message }));
    }
  });
}

async function read(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > MAX_BODY) throw new Refusal(413, 'too much');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** The page, and the client for the chat. */
async function serve(way, response) {
  const isClient = way.startsWith('/client/');
  const root = isClient ? CLIENT : PAGE;
  const path = normalize(join(root, isClient ? way.slice(7) : way === '/' ? 'index.html' : way));
  const type = TYPES[extname(path)];
  if (!path.startsWith(root + sep) || !type) throw new Refusal(404, 'There is nothing here.');
  const content = await readFile(path).catch(() => {
    throw new Refusal(404, 'There is nothing here.');
  });
  response.setHeader('content-security-policy', "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:");
  response.setHeader('content-type', type).end(content);
}
