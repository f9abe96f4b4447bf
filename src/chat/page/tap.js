// The messages between this page and the server, kept for the developer's panel (frames.js), which is loaded when somebody opens it.

import { byId } from './dom.js';
import { load } from './later.js';
import { forThisBrowser } from './memory.js';

const STORED_AS = 'switchboard.frames';
const MOST_KEPT = 300;
/** What is nobody's business: also not in a copy of the frames. */
const SECRET = 'token';

export const kept = []; // { direction, at, text }
let isPaused = false;
let toggled = () => {};
let shown = null;

/** A message of the socket: kept while the panel is closed, too, so that it shows how the page came here. */
export function tapped(direction, text) {
  if (isPaused) return;
  kept.push({ direction, at: Date.now(), text: withoutSecret(text) });
  if (kept.length > MOST_KEPT) kept.shift();
  shown?.();
}

function withoutSecret(text) {
  if (!text.includes(`"${SECRET}"`)) return text;
  try {
    const value = JSON.parse(text);
    return SECRET in value ? JSON.stringify({ ...value, [SECRET]: '…' }) : text;
  } catch {
    return text;
  }
}

export function pause() {
  isPaused = !isPaused;
  return isPaused;
}

/** Opens or closes the panel. */
export async function toggleFrames(isOpen = byId('frames').hidden) {
  forThisBrowser.write(STORED_AS, isOpen ? 'open' : '');
  byId('frames').hidden = !isOpen;
  document.body.classList.toggle('with-frames', isOpen);
  toggled(isOpen);
  if (!isOpen) {
    shown = null;
    return;
  }
  const panel = await load('frames');
  if (!panel || byId('frames').hidden) return;
  shown = panel.framesCame;
  shown();
}

export const areFramesOpen = () => !byId('frames').hidden;

/** `told(isOpen)` is called when the panel opens or closes. */
export function onFramesToggled(told) {
  toggled = told;
}

export function setUpTap() {
  addEventListener('keydown', (event) => {
    if (event.key !== 'F2' || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    toggleFrames();
  });
  if (forThisBrowser.read(STORED_AS) === 'open') toggleFrames(true);
}
