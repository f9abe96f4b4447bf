// The state of the connection, in the header as a dot and a few words, and above the text field when the person has to do something.

import { byId } from './dom.js';
import { stand, standNoMore } from './notices.js';
import { stateWords } from './sentences.js';
import { t } from './words.js';

const LOOK_MS = 500;
/** An answer that takes longer is said to be slow. */
const SLOW_MS = 3_000;

let client = null;
let act = null;

/** `actions`: { retry(), rename(), guest(), signIn() }, and `signInUrl()`, which may be none. */
export function showStatusOf(ofClient, actions) {
  client = ofClient;
  act = actions;
  // The seconds until the next attempt, and how long the server takes to answer.
  setInterval(showStatus, LOOK_MS);
}

export function showStatus() {
  const { state } = client;
  const isSlow = state.at === 'open' && client.waitingMs > SLOW_MS;
  const { text, next, actions } = stateWords(state, { now: performance.now(), isSlow, signInUrl: act.signInUrl() });
  const status = byId('status');
  status.dataset.state = state.at === 'open' ? 'open' : 'closed';
  status.dataset.why = state.at === 'parked' ? state.why : isSlow ? 'slow' : state.at;
  write(byId('status-text'), state.at === 'parked' ? t('not_connected') : text);
  write(byId('status-next'), next ?? '');
  if (state.at === 'parked') stand(text, actions.map((action) => ({ words: t(`do_${action}`), act: act[action] })));
  else standNoMore();
}

function write(shown, text) {
  if (shown.textContent !== text) shown.textContent = text;
}
