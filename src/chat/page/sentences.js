// What the page says about the connection and about what went wrong.

import { Disconnected } from './client/errors.js';
import { isolated } from './dom.js';
import { clock } from './time.js';
import { has, lang, names, parts, t } from './words.js';

/** What an `error` of the server means to a person. */
export function errorWords(error) {
  if (error instanceof Disconnected) return t(error.code === 'offline' ? 'error_offline' : 'error_lost');
  if (error.field === 'room' && error.code === 'bad_field' && /space/.test(error.message)) return t('no_spaces');
  // The server speaks English.
  if (lang !== 'en' && has(`error_${error.code}`)) return t(`error_${error.code}`);
  return error.message.replace(/`(\w+)`/g, (_, field) => (has(`field_${field}`) ? t(`field_${field}`) : field));
}

/** The state of the connection: { text, next, actions }; `next` counts down, `actions` name what the person may do about it. */
export function stateWords({ at, why, detail, until }, { now, isSlow, signInUrl }) {
  if (at === 'open') return { text: t(isSlow ? 'slow' : 'connected') };
  if (at === 'parked') {
    const { text, actions } = parkedWords(why, detail, until, now);
    const isSignIn = actions.includes('guest') || actions.includes('signIn');
    return { text, actions: actions.filter((action) => action !== 'signIn').concat(isSignIn && signInUrl ? ['signIn'] : []).reverse() };
  }
  if (at === 'connecting') return { text: t(why === 'shutting_down' ? 'restarting' : 'connecting') };
  const seconds = Math.max(1, Math.ceil((until - now) / 1000));
  const next = t('again_in', { seconds });
  if (at === 'offline') return { text: t('lost_offline'), next };
  return { text: has(`because_${why}`) ? t('lost_because', { reason: t(`because_${why}`) }) : t('lost'), next };
}

function parkedWords(why, detail, until, now) {
  switch (why) {
    case 'banned':
      return { text: until === undefined ? t('banned') : t('banned_until', { time: clock(Date.now() + until - now) }), actions: ['rename'] };
    case 'name_taken':
      return { text: t('name_taken'), actions: ['rename'] };
    case 'token_expired':
      return { text: t('token_expired'), actions: ['guest'] };
    default:
      return refusedWords(detail);
  }
}

function refusedWords(error) {
  const reason = errorWords(error ?? { message: '' });
  if (error?.field === 'token' && /asks for a token/.test(error.message)) return { text: t('token_needed'), actions: ['retry', 'signIn'] };
  if (error?.field === 'token') return { text: t('token_refused', { reason }), actions: ['guest'] };
  if (error?.field === 'user') return { text: t('name_refused', { reason }), actions: ['rename'] };
  return { text: t('refused', { reason }), actions: ['retry'] };
}

export const notJoined = (room, error) => parts('cannot_join', { room: isolated(room.name), reason: errorWords(error) });

export function wasKicked(room, reason) {
  return parts(reason ? 'was_kicked_for' : 'was_kicked', { room: isolated(room.name), reason: isolated(reason) });
}

/** How many are in a room. */
export const placeWords = (n) => (n === 0 ? t('browse_nobody') : t('browse_people', { n }));

export function typingWords(who) {
  if (who.length === 0) return [];
  if (who.length > 3) return [t('typing_many', { n: who.length })];
  return parts(who.length === 1 ? 'typing_one' : 'typing_some', { names: names(who) });
}
