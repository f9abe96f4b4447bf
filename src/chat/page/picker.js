// The picker of emojis: groups, names to look for, arrows to walk. One at a time, in the top layer.

import { button, element } from './dom.js';
import { emojisLike, groups } from './emoji.js';
import { place } from './menu.js';
import { t } from './words.js';

const MOST_FOUND = 64;
const COLUMNS = 8;

/** { panel, beside } while it is open. */
let open = null;

/** Opens the picker beside an element; `take(emoji)` is called when one is chosen. */
export function pickEmoji(beside, take) {
  const isOpen = open?.beside === beside;
  close();
  if (isOpen) return;
  const panel = element('div', 'picker');
  panel.popover = 'manual';
  panel.setAttribute('role', 'dialog');
  panel.setAttribute('aria-label', t('emoji'));
  const find = element('input');
  Object.assign(find, { type: 'search', placeholder: t('find_emoji'), autocomplete: 'off' });
  find.setAttribute('aria-label', t('find_emoji'));
  const grid = element('div', 'grid');
  const show = (list) => grid.replaceChildren(...list.map(({ emoji, names }) => {
    const one = button('emoji', emoji, names[0], () => {
      close();
      take(emoji);
    });
    one.tabIndex = -1;
    return one;
  }));
  const showAll = () => {
    show(groups.flatMap(({ emojis }) => emojis));
    grid.firstElementChild.tabIndex = 0;
  };
  find.addEventListener('input', () => {
    if (find.value.trim()) show(emojisLike(find.value.trim(), MOST_FOUND));
    else showAll();
    if (grid.firstElementChild) grid.firstElementChild.tabIndex = 0;
  });
  panel.append(find, tabs(grid), grid);
  panel.addEventListener('keydown', (event) => walk(event, find, grid));
  document.body.append(panel);
  showAll();
  panel.showPopover();
  place(panel, beside.getBoundingClientRect());
  open = { panel, beside };
  find.focus({ preventScroll: true });
}

/** A sign for each group, which brings it into view. */
function tabs(grid) {
  const row = element('div', 'groups');
  for (const { sign, emojis } of groups) {
    const tab = button('emoji', sign, emojis[0].names[0], () => {
      const first = [...grid.children].find((one) => one.textContent === emojis[0].emoji);
      first?.scrollIntoView({ block: 'start' });
      first?.focus({ preventScroll: true });
    });
    tab.tabIndex = -1;
    row.append(tab);
  }
  row.setAttribute('aria-hidden', 'true');
  return row;
}

function walk(event, find, grid) {
  if (event.isComposing) return;
  if (event.key === 'Escape') {
    event.stopPropagation();
    event.preventDefault();
    const { beside } = open;
    close();
    beside.focus({ preventScroll: true });
    return;
  }
  const all = [...grid.children];
  const at = all.indexOf(document.activeElement);
  if (event.target === find && event.key === 'Enter') {
    event.preventDefault();
    all[0]?.click();
  }
  const step = { ArrowDown: COLUMNS, ArrowUp: -COLUMNS, ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step || (event.target === find && event.key !== 'ArrowDown')) return;
  event.preventDefault();
  const isRtl = getComputedStyle(grid).direction === 'rtl' && Math.abs(step) === 1;
  const next = at < 0 ? 0 : at + (isRtl ? -step : step);
  if (next < 0) find.focus();
  else all[Math.min(next, all.length - 1)]?.focus();
}

function close() {
  open?.panel.remove();
  open = null;
}

addEventListener('pointerdown', ({ target }) => {
  if (open && !open.panel.contains(target) && !open.beside.contains(target)) close();
}, true);
addEventListener('focusin', ({ target }) => {
  if (open && !open.panel.contains(target)) close();
});
addEventListener('resize', close);
