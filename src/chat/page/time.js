// Times as people read them. What is of another day says so, also when that day ends while it is shown.

import { locale, t } from './words.js';

const LOOK_MS = 20_000;
const DAY_MS = 24 * 3_600_000;

const HOUR = { hour: '2-digit', minute: '2-digit' };
const WHOLE = { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' };

const formats = new Map();

/** A formatter takes a browser longer than all that is formatted with it. */
function format(at, options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(locale, options));
  return formats.get(key).format(at);
}

/** The hour of today, or the date and the hour. */
export function clock(ms, now = new Date()) {
  const at = new Date(ms);
  const isToday = at.toDateString() === now.toDateString();
  return format(at, isToday ? HOUR : { ...dateOf(at, now), ...HOUR });
}

/** Today, yesterday, or the day and the date. */
export function day(ms, now = new Date()) {
  const at = new Date(ms);
  if (at.toDateString() === now.toDateString()) return t('today');
  if (at.toDateString() === new Date(now - DAY_MS).toDateString()) return t('yesterday');
  return format(at, { weekday: 'long', ...dateOf(at, now), month: 'long' });
}

function dateOf(at, now) {
  return { month: 'short', day: 'numeric', ...(at.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' }) };
}

const WRITTEN = new Map([['clock', clock], ['day', day], ['hour', (ms) => format(ms, HOUR)]]);

/** `as`: `hour`, `clock` or `day`. */
export function timeElement(ms, as = 'clock') {
  const made = document.createElement('time');
  const at = new Date(ms);
  made.textContent = WRITTEN.get(as)(ms);
  made.dateTime = at.toISOString();
  made.dataset.as = as;
  made.title = format(at, WHOLE);
  return made;
}

/** Whether two times are of one day. */
export const isSameDay = (one, other) => new Date(one).toDateString() === new Date(other).toDateString();

/** Calls `changed` when another day has begun. */
export function onNewDay(changed) {
  let today = new Date().toDateString();
  const look = () => {
    if (new Date().toDateString() === today) return;
    today = new Date().toDateString();
    changed();
  };
  setInterval(look, LOOK_MS);
  document.addEventListener('visibilitychange', look);
  addEventListener('pageshow', look);
}

/** Writes all times in the document as they are to be read today. */
export function rewriteTimes() {
  for (const shown of document.querySelectorAll('time')) shown.textContent = WRITTEN.get(shown.dataset.as)(Date.parse(shown.dateTime));
}
