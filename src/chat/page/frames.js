// The developer's panel: the messages between this page and the server, with what they mean. Loaded when somebody opens it.

import { button, byId, element } from './dom.js';
import { kept, pause, toggleFrames } from './tap.js';
import { has, locale, t } from './words.js';

const LONGEST_SHOWN = 4_000;
const hours = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 });
const list = byId('frames-list');
let frame = 0;

/** There is something new to be shown. */
export function framesCame() {
  frame ||= requestAnimationFrame(show);
}

byId('frames-close').addEventListener('click', () => toggleFrames(false));
byId('frames-clear').addEventListener('click', () => {
  kept.length = 0;
  show();
});
byId('frames-copy').addEventListener('click', () => copy(kept.map(({ direction, text }) => `${direction === 'out' ? '>' : '<'} ${text}`).join('\n')));
byId('frames-pause').addEventListener('click', () => byId('frames-pause').setAttribute('aria-pressed', String(pause())));

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
