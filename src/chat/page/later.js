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

/** A part of the page; undefined, and a word about it, when it cannot be had. */
export async function load(part) {
  try {
    return await LOADED[part]();
  } catch {
    complain(t('error_offline'), 'connection');
    return undefined;
  }
}

let isLoaded = false;

/** Fetches all parts as soon as there is nothing else to do. */
export function loadAtRest() {
  if (isLoaded) return;
  isLoaded = true;
  const all = () => Object.values(LOADED).forEach((one) => one().catch(() => {}));
  if (typeof requestIdleCallback === 'function') requestIdleCallback(all, { timeout: REST_LIMIT_MS });
  else setTimeout(all, REST_LIMIT_MS);
}

export const pickEmoji = async (beside, take) => (await load('picker'))?.pickEmoji(beside, take);
export const askToModerate = async (what, values, act) => (await load('moderate'))?.askToModerate(what, values, act);
