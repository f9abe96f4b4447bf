// Parts of the page that are loaded when somebody wants them: until then they cost a visitor nothing. Once the page is at rest all
// of them are fetched, so that they are there when the network is gone.

import { complain } from './notices.js';
import { t } from './words.js';

const REST_LIMIT_MS = 4_000;
const LOADED = {
  browse: () => import('./browse.js'),
  emoji: () => import('./emoji.js'),
  frames: () => import('./frames.js'),
  moderate: () => import('./moderate.js'),
  picker: () => import('./picker.js'),
  settings: () => import('./settings.js'),
};

const loaded = new Map();

/** A part of the page; undefined, and a word about it, when it cannot be had. */
export async function load(part) {
  try {
    loaded.set(part, await LOADED[part]());
  } catch {
    complain(t('error_offline'), 'connection');
  }
  return loaded.get(part);
}

/** A part of the page that is here already. */
export const here = (part) => loaded.get(part);

/** Does something with a part of the page: at once when it is here. */
function use(part, act) {
  const known = here(part);
  if (known) act(known);
  else load(part).then((module) => module && act(module));
}

let isLoaded = false;

/** Fetches all parts as soon as there is nothing else to do. */
export function loadAtRest() {
  if (isLoaded) return;
  isLoaded = true;
  const all = () => Object.entries(LOADED).forEach(([part, one]) => one().then((module) => loaded.set(part, module), () => {}));
  if (typeof requestIdleCallback === 'function') requestIdleCallback(all, { timeout: REST_LIMIT_MS });
  else setTimeout(all, REST_LIMIT_MS);
}

export const pickEmoji = (beside, take) => use('picker', (part) => part.pickEmoji(beside, take));
export const askToModerate = (what, values, act) => use('moderate', (part) => part.askToModerate(what, values, act));
export const openSettings = () => use('settings', (part) => part.openSettings());
export const browseRooms = (act) => use('browse', (part) => part.browse(act));
