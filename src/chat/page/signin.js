// Who the person is, between visits: a guest's name, or a token of somebody who is signed in.

import { bytes } from './dom.js';
import { forThisBrowser, forThisTab, isText } from './memory.js';

const NAME_STORED_AS = 'switchboard.user';
const TOKEN_STORED_AS = 'switchboard.token';
const LONGEST_NAME = 64;

/** The token that the address carries, or the one that is remembered. */
export function rememberedToken() {
  const given = tokenFromAddress();
  if (given) rememberToken(given);
  return given || forThisBrowser.read(TOKEN_STORED_AS) || forThisTab.read(TOKEN_STORED_AS) || undefined;
}

/** A token has no business in the address bar, in bookmarks and in the history. */
function tokenFromAddress() {
  const address = new URL(location.href);
  const fragment = new URLSearchParams(address.hash.slice(1));
  const given = address.searchParams.get('token') || fragment.get('token');
  if (!address.searchParams.has('token') && !fragment.has('token')) return undefined;
  address.searchParams.delete('token');
  if (fragment.has('token')) address.hash = '';
  history.replaceState(null, '', address);
  return given;
}

export function rememberToken(token) {
  forThisBrowser.write(TOKEN_STORED_AS, token);
  forThisTab.write(TOKEN_STORED_AS, token);
}

export function forgetToken() {
  forThisBrowser.remove(TOKEN_STORED_AS);
  forThisTab.remove(TOKEN_STORED_AS);
}

/** Calls `changed(token)` when another tab of this browser signs in or out. */
export function onOtherTab(changed) {
  addEventListener('storage', ({ key, newValue, storageArea }) => {
    if (key === TOKEN_STORED_AS && storageArea === localStorage) changed(newValue || undefined);
  });
}

/** Where people sign in, as the server says; undefined when it does not. */
export async function signInAddress() {
  try {
    const { sign_in_url: given } = await (await fetch('config.json', { headers: { accept: 'application/json' } })).json();
    const url = isText(given) ? new URL(given, document.baseURI) : null;
    return url && ['http:', 'https:'].includes(url.protocol) ? url : undefined;
  } catch {
    // An own page, an older server: nobody says where.
    return undefined;
  }
}

/** Goes there; the other end sends the person back with a token. */
export function goToSignIn(address) {
  const url = new URL(address);
  url.searchParams.set('return_to', location.href);
  location.assign(url);
}

/** The name of a guest: { name, isNew }. */
export function guestName() {
  const stored = forThisBrowser.read(NAME_STORED_AS)?.trim();
  if (isText(stored) && bytes(stored) <= LONGEST_NAME) return { name: stored, isNew: false };
  return { name: `Guest ${String(Math.floor(Math.random() * 9000) + 1000)}`, isNew: true };
}

export function rememberName(name) {
  forThisBrowser.write(NAME_STORED_AS, name);
}
