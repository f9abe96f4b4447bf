// Looking for messages of the open room, and for rooms and people by their names. By keyboard: Ctrl+K or `/`, the arrows, Enter.

import { button, byId, element } from './dom.js';
import { forThisBrowser, isText, listOf } from './memory.js';
import { avatar, person } from './person.js';
import { marked } from './text.js';
import { timeElement } from './time.js';
import { t } from './words.js';

const ONE_KEY_STORED_AS = 'switchboard.one_key';
const RECENT_STORED_AS = 'switchboard.searches';
const MOST_RECENT = 6;
const MOST_PLACES = 5;
/** Hits whose neighbours are shown, so that one sees what was talked about. */
const MOST_WITH_CONTEXT = 12;
const TYPED_MS = 250;
const SHORTEST = 2;

let act = null;
let recent = forThisBrowser.readJson(RECENT_STORED_AS, listOf(isText)).slice(0, MOST_RECENT);
let typedTimer = 0;
let asked = 0; // counts, so that a late answer is known to be late

/** Whether keys without Ctrl do something outside of fields: who speaks to the computer may not want that (WCAG 2.1.4). */
export const hasOneKey = () => forThisBrowser.read(ONE_KEY_STORED_AS) !== 'off';
export const setOneKey = (isOn) => forThisBrowser.write(ONE_KEY_STORED_AS, isOn ? 'on' : 'off');

/**
 * `actions`: { search(query) for messages, around(message) for [before, after], goTo(message), places(query) for rooms and people as
 * { name, go() }, otherPlaces(query) for those that the server knows of, failed(error), acts() }
 */
export function setUpSearch(actions) {
  act = actions;
  const query = byId('query');
  byId('search-form').addEventListener('submit', (event) => {
    event.preventDefault();
    clearTimeout(typedTimer);
    if (!query.value.trim()) return closeSearch();
    act.acts();
    return search(query.value.trim(), true);
  });
  query.addEventListener('input', () => {
    clearTimeout(typedTimer);
    const text = query.value.trim();
    if (!text) return showRecent();
    showPlaces(text);
    if ([...text].length >= SHORTEST) typedTimer = setTimeout(() => search(text, false), TYPED_MS);
    return undefined;
  });
  query.addEventListener('focus', () => !query.value.trim() && showRecent());
  byId('close-found').addEventListener('click', closeSearch);
  byId('found').addEventListener('keydown', walk);
  query.addEventListener('keydown', walk);
  addEventListener('keydown', shortcut);
  addEventListener('pointerdown', ({ target }) => {
    if (!byId('found').hidden && !byId('query').value && !byId('found').contains(target) && !byId('search-form').contains(target)) closeSearch();
  });
}

export function closeSearch() {
  clearTimeout(typedTimer);
  asked += 1;
  const hadFocus = byId('found').contains(document.activeElement);
  byId('found').hidden = true;
  byId('query').value = '';
  if (hadFocus) byId('text').focus({ preventScroll: true });
}

function shortcut(event) {
  const isCommand = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === 'k';
  const isSlash = event.key === '/' && !event.ctrlKey && !event.metaKey && !event.altKey && hasOneKey()
    && !event.target.closest('input, textarea, select, [contenteditable], dialog, .picker');
  if (!isCommand && !isSlash) return;
  event.preventDefault();
  document.querySelector('dialog[open]')?.close();
  byId('query').focus();
  byId('query').select();
  showRecent();
}

/** The arrows go through what is found, from the field and back to it. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.isComposing || byId('found').hidden) return;
  const all = [...byId('found').querySelectorAll('.hit')];
  const next = all.indexOf(document.activeElement) + step;
  event.preventDefault();
  if (next < 0) byId('query').focus();
  else all[Math.min(next, all.length - 1)]?.focus();
}

function open(title) {
  byId('found').hidden = false;
  byId('found-title').textContent = title;
}

function showRecent() {
  if (byId('query').value.trim()) return;
  byId('found-list').replaceChildren();
  byId('found-places').replaceChildren(...recent.map((text) => entry(element('span', '', text), () => {
    byId('query').value = text;
    search(text, true);
  })));
  if (recent.length > 0) open(t('recent'));
  else byId('found').hidden = true;
}

function showPlaces(query) {
  const places = act.places(query).slice(0, MOST_PLACES);
  byId('found-places').replaceChildren(...places.map(place));
  if (places.length > 0 && byId('found').hidden) open(t('go_to'));
}

function place({ name, user, about, go }) {
  const shown = element('span', 'place');
  shown.append(...(user ? [avatar(user)] : []), element('bdi', '', name), ...(about ? [element('span', 'quiet', about)] : []));
  return entry(shown, () => {
    closeSearch();
    go();
  });
}

/** Rooms that the person is not in yet, behind those that they are in. */
async function showOtherPlaces(query, own) {
  let places;
  try {
    places = await act.otherPlaces(query);
  } catch {
    // The search tells what is wrong.
    return;
  }
  if (own === asked) byId('found-places').append(...places.slice(0, MOST_PLACES).map(place));
}

function entry(shown, go) {
  const item = element('li');
  const made = button('hit', '', '', go);
  made.append(shown);
  item.append(made);
  return item;
}

async function search(query, isAsked) {
  asked += 1;
  const own = asked;
  showPlaces(query);
  showOtherPlaces(query, own);
  if (byId('found').hidden) {
    byId('found-list').replaceChildren();
    open(t('searching'));
  }
  let messages;
  try {
    messages = await act.search(query);
  } catch (error) {
    if (own !== asked) return;
    if (isAsked) act.failed(error);
    open('');
    return;
  }
  if (own !== asked) return;
  if (isAsked) remember(query);
  open(messages.length > 0 ? t('found', { n: messages.length }) : t('found_none'));
  byId('found-list').replaceChildren(...messages.map((message) => hit(message, query)));
  await showContext(messages, own);
}

function hit(message, query) {
  const item = element('li');
  const show = button('hit', '', '', () => {
    remember(query);
    act.goTo(message);
  });
  const body = element('span', 'body');
  body.dir = 'auto';
  body.append(...marked(message.text, query));
  show.append(person(message), ' ', timeElement(message.time), body);
  item.append(show);
  return item;
}

/** What was said before and after, one hit after the other. */
async function showContext(messages, own) {
  for (const [i, message] of messages.slice(0, MOST_WITH_CONTEXT).entries()) {
    let around;
    try {
      around = await act.around(message);
    } catch {
      return;
    }
    if (own !== asked) return;
    const item = byId('found-list').children[i];
    const line = (one) => {
      const made = element('p', 'context', `${one.user}: ${one.text}`);
      made.dir = 'auto';
      return made;
    };
    const [before, after] = around;
    if (before) item.prepend(line(before));
    if (after) item.append(line(after));
  }
}

function remember(query) {
  recent = [query, ...recent.filter((one) => one !== query)].slice(0, MOST_RECENT);
  forThisBrowser.write(RECENT_STORED_AS, JSON.stringify(recent));
}
