// What Switchboard asks and tells (docs/hooks.md).

import { createHmac, timingSafeEqual } from 'node:crypto';

const TOLERANCE_S = 300;
/** Events that moderators can look at. */
const MOST_KEPT = 200;
/** Words that nobody says here, and words that are softened. */
const REFUSED = /\bspam\b/iu;
const SOFTENED = /\bdarn\b/giu;

/** Whether a body comes from the holder of the secret, and lately. */
export function isSigned(secret, signature, body) {
  const fields = new URLSearchParams(String(signature).replaceAll(',', '&'));
  const sent = Number(fields.get('t'));
  if (!(Math.abs(Date.now() / 1000 - sent) <= TOLERANCE_S)) return false;
  const expected = createHmac('sha256', secret).update(`${sent}.`).update(body).digest();
  const given = Buffer.from(fields.get('v1') ?? '', 'hex');
  return given.length === expected.length && timingSafeEqual(given, expected);
}

export class Hooks {
  #users;
  /** The events that were told last, without texts. */
  audit = [];
  /** Everything up to this event has been seen: what is told twice is passed over. */
  #seen = 0;

  constructor(users) {
    this.#users = users;
  }

  /** The answer to a question. */
  answer({ ask, room, subject, text }) {
    const user = this.#users.find(subject);
    if (!user || user.suspended) return { allow: false, reason: 'You are not a member any more.' };
    if (ask === 'join' && room !== 'lobby' && room !== `team-${user.team}`) {
      return { allow: false, reason: 'This room is for its team.' };
    }
    if (ask === 'post') {
      if (REFUSED.test(text)) return { allow: false, reason: 'No advertising here.' };
      return { allow: true, text: text.replace(SOFTENED, (word) => '*'.repeat(word.length)) };
    }
    return { allow: true };
  }

  /** Takes events, each once. A server that begins anew counts anew. */
  take(events) {
    for (const event of events) {
      if (event.event === 'started' && event.id < this.#seen) this.#seen = 0;
      if (event.id <= this.#seen) continue;
      this.#seen = event.id;
      const { text, key, ...kept } = event;
      this.audit.push(kept);
    }
    this.audit.splice(0, this.audit.length - MOST_KEPT);
  }
}
