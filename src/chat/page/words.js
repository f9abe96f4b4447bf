// The sentences that the page says about the connection and about what went wrong.

import { isolated } from './dom.js';
import { clock } from './time.js';

const FIELDS = new Map([
  ['room', 'the room’s name'], ['user', 'the name'], ['to', 'the name'], ['text', 'the message'], ['query', 'the search'],
  ['emoji', 'the reaction'], ['token', 'the sign-in'],
]);

/** What an `error` of the server means to a person. */
export function errorWords(error) {
  if (error.field === 'room' && error.code === 'bad_field' && /space/.test(error.message)) return 'the name of a room has no spaces.';
  return error.message.replace(/`(\w+)`/g, (_, field) => FIELDS.get(field) ?? field);
}

/** The state of the connection: { text, next, action }; `next` counts down, `action` names what the person may do about it. */
export function stateWords({ at, why, detail, until }, now) {
  if (at === 'open') return { text: 'Connected' };
  if (at === 'parked') return parkedWords(why, detail, until, now);
  if (at === 'connecting') return { text: why === 'shutting_down' ? 'Not connected: the server is restarting. Connecting…' : 'Connecting…' };
  const seconds = Math.max(1, Math.ceil((until - now) / 1000));
  const next = ` Trying again in ${seconds} s.`;
  if (at === 'offline') return { text: 'Not connected: this device is offline.', next };
  const reasons = new Map([
    ['shutting_down', 'the server is restarting'],
    ['flooding', 'that was too much at once'],
    ['disconnected', 'an operator has ended this connection'],
  ]);
  const reason = reasons.get(why);
  return { text: `Not connected${reason ? `: ${reason}` : ''}.`, next };
}

function parkedWords(why, detail, until, now) {
  switch (why) {
    case 'banned': {
      const end = until === undefined ? '' : ` until ${clock(Date.now() + until - now)}`;
      return { text: `You are banned from this server${end}.`, action: 'rename' };
    }
    case 'name_taken':
      return { text: 'Somebody who is signed in has this name. Choose another one.', action: 'rename' };
    case 'token_expired':
      return { text: 'Your sign-in has expired.', action: 'guest' };
    default:
      return refusedWords(detail);
  }
}

function refusedWords(error) {
  const reason = errorWords(error ?? { message: '' });
  if (error?.field === 'token' && /asks for a token/.test(reason)) return { text: 'This server is for people who are signed in.', action: 'retry' };
  if (error?.field === 'token') return { text: `You could not be signed in: ${reason}.`, action: 'guest' };
  if (error?.field === 'user') return { text: `You cannot use this name: ${reason}.`, action: 'rename' };
  return { text: `The server did not let you in: ${reason}.`, action: 'retry' };
}

export const actionWords = new Map([
  ['retry', 'Try now'],
  ['rename', 'Choose another name'],
  ['guest', 'Continue as a guest'],
]);

export const notJoined = (room, error) => ['You cannot join ', isolated(room.name), `: ${errorWords(error)}`];
export const wasKicked = (room, reason) => ['You were removed from ', isolated(room.name), ...(reason ? [': ', isolated(reason)] : ['.'])];

export function typingWords(names) {
  if (names.length === 0) return [];
  if (names.length > 3) return [`${names.length} people are typing…`];
  const who = names.flatMap((name, i) => (i === 0 ? [isolated(name)] : [', ', isolated(name)]));
  return [...who, names.length === 1 ? ' is typing…' : ' are typing…'];
}
