// Notifications of the browser, for mentions and direct messages while the page is not in view. The page asks for them when there
// was one that the person did not see, and never before.

import { forThisBrowser } from './memory.js';
import { clearNotice, complain, offer } from './notices.js';
import { t } from './words.js';

const STORED_AS = 'switchboard.notify';
const LONGEST = 200;

const isKnown = () => typeof Notification === 'function';
const isAway = () => document.visibilityState !== 'visible' || !document.hasFocus();

/** Whether the person wants them and the browser lets the page. */
export const isOn = () => isKnown() && forThisBrowser.read(STORED_AS) === 'on' && Notification.permission === 'granted';

/** Asks the browser; says so when it does not allow it. Returns whether they are on now. */
export async function turnOn(isWanted) {
  clearNotice('offer');
  forThisBrowser.write(STORED_AS, isWanted ? 'on' : 'off');
  if (isWanted && (!isKnown() || (await Notification.requestPermission()) !== 'granted')) complain(t('notifications_blocked'));
  return isOn();
}

function show({ title, text, tag, go }) {
  let shown;
  try {
    shown = new Notification(title, { body: text.slice(0, LONGEST), tag, icon: new URL('favicon.svg', document.baseURI).href });
  } catch {
    // Browsers of phones show them for installed pages only.
    return;
  }
  shown.addEventListener('click', () => {
    window.focus();
    shown.close();
    go();
  });
}

/** Something came for the person: shows it when the page is not in view, or offers to do so the next time. */
export function notify({ title, text, tag, go }) {
  if (!isAway()) return;
  if (isOn()) show({ title, text, tag, go });
  else if (isKnown() && Notification.permission === 'default' && forThisBrowser.read(STORED_AS) === null) {
    offer(t('notifications_offer'), [{ words: t('notifications_on'), act: () => turnOn(true) }], () => forThisBrowser.write(STORED_AS, 'off'));
  }
}
