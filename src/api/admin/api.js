// The HTTP API, with the token of the operator.

const ROOT = new URL('../api/v1/', document.baseURI);
const KEY = 'switchboard.admin.token';

/** What the API refused, in its own words. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `The server answers ${status}.`);
    this.status = status;
    this.scope = problem?.scope;
  }
}

let token = sessionStorage.getItem(KEY);

export const isSignedIn = () => token !== null;

export function signIn(given) {
  token = given;
  sessionStorage.setItem(KEY, given);
}

export function signOut() {
  token = null;
  sessionStorage.removeItem(KEY);
}

/** A path, whose parts are escaped. */
export const path = (...parts) => parts.map(encodeURIComponent).join('/');

/** Does a request; returns the answer, or `undefined` where there is none. */
export async function request(method, place, { query = {}, body, key } = {}) {
  const url = new URL(place, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') url.searchParams.set(name, value);
  }
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (key !== undefined) headers['Idempotency-Key'] = key;
  const answer = await fetch(url, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store', credentials: 'omit',
  });
  const text = await answer.text();
  const json = /\bjson\b/.test(answer.headers.get('Content-Type') ?? '') ? JSON.parse(text) : undefined;
  if (!answer.ok) throw new ApiError(answer.status, json);
  return json;
}

/** A key with which a request may be sent again. */
export function newKey() {
  const octets = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('');
}

/** Pages of a list until there are `limit` elements: one page may have fewer, or none. */
export async function pages(place, list, { query = {}, after, limit }) {
  const found = [];
  let next = after;
  do {
    const page = await request('GET', place, { query: { ...query, after: next, limit: limit - found.length } });
    found.push(...page[list]);
    next = page.next;
  } while (next !== undefined && found.length < limit);
  return { found, next };
}
