// The operator's page: signing in, the sections, and what is read again every two seconds.

import { ApiError, isSignedIn, request, signIn, signOut } from './api.js';
import { Closes, Connections } from './connections.js';
import { $, setText, time } from './dom.js';
import { Figures } from './figures.js';
import { Bans, operate } from './moderation.js';
import { Rooms } from './rooms.js';

const EVERY_MS = 2000;

const sections = {
  figures: new Figures(),
  connections: new Connections(report),
  rooms: new Rooms(report),
  moderation: new Bans(report),
  closes: new Closes(),
  server: { refresh: async () => {} },
};
let timer;
let done = '';

/** Does something for the operator, and says what came of it. */
async function report(work) {
  try {
    done = (await work()) ?? '';
    tell('');
    if (typeof done === 'string' && done !== '') setText($('state'), done);
  } catch (error) {
    fail(error);
  }
}

function tell(problem) {
  setText($('problem'), problem);
  $('problem').hidden = problem === '';
}

function fail(error) {
  if (error instanceof ApiError && error.status === 401) {
    leave('The server does not take this token.');
  } else {
    tell(error instanceof ApiError ? `Refused: ${error.message}.` : 'The server does not answer. Trying again.');
  }
}

const current = () => (location.hash.slice(1) in sections ? location.hash.slice(1) : 'figures');

/** Reads the section that is shown, and comes again. */
async function refresh() {
  clearTimeout(timer);
  const section = current();
  try {
    // Plots have no gaps while another section is shown.
    const stats = await sections.figures.refresh().catch((error) => {
      if (section === 'figures' || error.status === 401 || !(error instanceof ApiError)) throw error;
      return undefined;
    });
    if (section !== 'figures') await sections[section].refresh();
    tell('');
    const draining = stats?.draining ? ' The server stops.' : '';
    setText($('state'), `As of ${time(Date.now())}.${draining}${typeof done === 'string' && done ? ` ${done}` : ''}`);
  } catch (error) {
    fail(error);
  }
  if (isSignedIn()) {
    clearTimeout(timer);
    timer = setTimeout(refresh, EVERY_MS);
  }
}

/** Shows the section that the address names. */
function show() {
  for (const link of $('sections').querySelectorAll('a')) {
    if (link.hash === `#${current()}`) {
      link.setAttribute('aria-current', 'page');
      // On a phone the list of sections is wider than the window.
      link.scrollIntoView({ block: 'nearest', inline: 'center' });
    } else {
      link.removeAttribute('aria-current');
    }
  }
  for (const name of Object.keys(sections)) $(name).hidden = name !== current() || !isSignedIn();
  done = '';
  if (isSignedIn()) refresh();
}

function enter() {
  $('sign-in').hidden = isSignedIn();
  $('sections').hidden = !isSignedIn();
  $('sign-out').hidden = !isSignedIn();
  show();
  if (!isSignedIn()) $('token').focus();
}

function leave(why) {
  clearTimeout(timer);
  signOut();
  setText($('state'), '');
  enter();
  tell(why);
}

$('sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  signIn($('token').value.trim());
  event.target.reset();
  try {
    await request('GET', 'openapi.json');
    tell('');
    enter();
    $('main').focus();
  } catch (error) {
    fail(error);
  }
});
$('sign-out').addEventListener('click', () => leave(''));
window.addEventListener('hashchange', show);
operate(report);
enter();
