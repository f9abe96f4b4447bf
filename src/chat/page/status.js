// The state of the connection, in the header as a dot and a few words, and above the text field when the person has to do something.

import { byId } from './dom.js';
import { stand, standNoMore } from './notices.js';
import { actionWords, stateWords } from './words.js';

const LOOK_MS = 500;

let client = null;
let act = null;

/** `actions`: { retry(), rename(), guest() } */
export function showStatusOf(ofClient, actions) {
  client = ofClient;
  act = actions;
  // The seconds until the next attempt.
  setInterval(() => client.state.at !== 'open' && showStatus(), LOOK_MS);
}

export function showStatus() {
  const { state } = client;
  const { text, next, action } = stateWords(state, performance.now());
  const status = byId('status');
  status.dataset.state = state.at === 'open' ? 'open' : 'closed';
  status.dataset.why = state.at === 'parked' ? state.why : state.at;
  write(byId('status-text'), state.at === 'parked' ? 'Not connected' : text);
  write(byId('status-next'), next ?? '');
  if (state.at === 'parked') stand(text, actionWords.get(action) ?? '', act[action]);
  else standNoMore();
}

function write(shown, text) {
  if (shown.textContent !== text) shown.textContent = text;
}
