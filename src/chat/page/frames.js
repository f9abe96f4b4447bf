// The developer's panel: the messages between this page and the server, with what they mean. Off until somebody opens it.

import { button, byId, element } from './dom.js';
import { forThisBrowser } from './memory.js';
import { has, locale, t } from './words.js';

const STORED_AS = 'switchboard.frames';
const MOST_KEPT = 300;
const LONGEST_SHOWN = 4_000;
const hours = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 });
/** What is nobody's business: also not in a copy of the frames. */
const SECRET = 'token';

const panel = byId('frames');
const list = byId('frames-list');
const kept = []; // { direction, at, text }
let isPaused = false;
let frame = 0;

/** A message of the socket: kept while the panel is closed, too, so that it shows how the page came here. */
export function tapped(direction, text) {
  if (isPaused) return;
  kept.push({ direction, at: Date.now(), text: withoutSecret(text) });
  if (kept.length > MOST_KEPT) kept.shift();
  if (!panel.hidden) frame ||= requestAnimationFrame(show);
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

/** `toggled(isOpen)` is called when the panel opens or closes. */
export function setUpFrames(toggled) {
  const toggle = (isOpen = panel.hidden) => {
    panel.hidden = !isOpen;
    document.body.classList.toggle('with-frames', isOpen);
    forThisBrowser.write(STORED_AS, isOpen ? 'open' : '');
    if (isOpen) show();
    toggled(isOpen);
  };
  addEventListener('keydown', (event) => {
    if (event.key !== 'F2' || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    toggle();
  });
  byId('frames-close').addEventListener('click', () => toggle(false));
  byId('frames-clear').addEventListener('click', () => {
    kept.length = 0;
    show();
  });
  byId('frames-copy').addEventListener('click', () => copy(kept.map(({ direction, text }) => `${direction === 'out' ? '>' : '<'} ${text}`).join('\n')));
  byId('frames-pause').addEventListener('click', () => {
    isPaused = !isPaused;
    byId('frames-pause').setAttribute('aria-pressed', String(isPaused));
  });
  if (forThisBrowser.read(STORED_AS) === 'open') toggle(true);
  return toggle;
}

const copy = (text) => navigator.clipboard?.writeText(text).catch(() => {});

function show() {
  frame = 0;
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  // What is shown already stays: somebody may have opened it.
  while (list.firstElementChild && list.firstElementChild.frame !== kept[0]) list.firstElementChild.remove();
  list.append(...kept.slice(list.childElementCount).map(frameItem));
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function frameItem(one) {
  const { direction, at, text } = one;
  const item = element('li', `frame ${direction}`);
  item.frame = one;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = {};
  }
  const type = typeof value?.type === 'string' ? value.type : '';
  const details = element('details');
  const summary = element('summary');
  const arrow = element('span', 'direction', direction === 'out' ? '↑' : '↓');
  arrow.setAttribute('role', 'img');
  arrow.setAttribute('aria-label', t(`frame_${direction}`));
  summary.append(arrow, element('span', 'at', hours.format(at)), element('b', '', type), element('code', 'short', text.slice(0, 160)));
  details.append(summary);
  details.addEventListener('toggle', () => {
    if (!details.open || details.childElementCount > 1) return;
    const pretty = element('pre', '', JSON.stringify(value, null, 2).slice(0, LONGEST_SHOWN));
    pretty.dir = 'ltr';
    pretty.tabIndex = 0;
    details.append(element('p', 'meaning', t(has(`frame_${type}`) ? `frame_${type}` : 'frame_other')), pretty,
      button('', t('frame_copy'), '', () => copy(text)));
    details.scrollIntoView({ block: 'nearest' });
  });
  item.append(details);
  return item;
}
