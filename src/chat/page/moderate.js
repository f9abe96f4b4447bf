// Removing and banning people: a question first, with a reason and a time.

import { byId } from './dom.js';
import { t } from './words.js';

const dialog = byId('moderate');
let done = null;

/** Asks whether to do it; `what` is `kick` or `ban`. `act({ reason, seconds })` is called when the answer is yes. */
export function askToModerate(what, values, act) {
  byId('moderate-title').textContent = t(`${what}_title`, values);
  byId('moderate-do').textContent = t(what);
  byId('moderate-for').hidden = what !== 'ban';
  byId('moderate-reason').value = '';
  done = act;
  dialog.returnValue = '';
  dialog.showModal();
}

dialog.addEventListener('click', ({ target }) => target === dialog && dialog.close());
dialog.addEventListener('close', () => {
  if (dialog.returnValue !== 'yes') return;
  done({ reason: byId('moderate-reason').value.trim(), seconds: Number(byId('moderate-seconds').value) || undefined });
});
