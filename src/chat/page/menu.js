// What can be done with a message: a menu in the top layer, beside its button, within the window whatever scrolls or covers.

import { button, element } from './dom.js';

const EMOJIS = ['👍', '❤️', '😂', '🎉', '😮', '😢'];
const EDGE_PX = 8;

/** The one that is open: { tools, menu } */
let open = null;

/** `act`: { react(message, emoji, remove), edit(message), remove(message) } */
export function toolsOf(message, isOwn, act) {
  const tools = element('details', 'tools');
  const summary = element('summary', '', '⋯');
  summary.tabIndex = -1;
  summary.setAttribute('aria-label', `More about the message of ${message.user}`);
  tools.append(summary);
  summary.addEventListener('click', (event) => {
    event.preventDefault();
    const isOpen = open?.tools === tools;
    closeMenu();
    if (!isOpen) openMenu(tools, menuOf(message, isOwn, act));
  });
  return tools;
}

export function closeMenu() {
  if (!open) return;
  const { tools, menu } = open;
  open = null;
  const hadFocus = menu.contains(document.activeElement);
  menu.remove();
  tools.open = false;
  if (hadFocus) tools.querySelector('summary').focus({ preventScroll: true });
}

function openMenu(tools, menu) {
  tools.append(menu);
  tools.open = true;
  open = { tools, menu };
  menu.popover = 'manual';
  menu.showPopover();
  place(menu, tools.querySelector('summary').getBoundingClientRect());
  menu.querySelector('button').focus({ preventScroll: true });
}

/** Below the button where there is room for it, above it otherwise; never beyond an edge. */
function place(menu, beside) {
  const { width, height } = menu.getBoundingClientRect();
  const floor = Math.min(innerHeight, document.getElementById('composer').getBoundingClientRect().top) - EDGE_PX;
  const below = beside.bottom + 4;
  const top = below + height <= floor ? below : Math.min(beside.top - 4, floor) - height;
  const isRtl = getComputedStyle(menu).direction === 'rtl';
  const left = isRtl ? beside.left : beside.right - width;
  menu.style.top = `${Math.max(EDGE_PX, top)}px`;
  menu.style.left = `${Math.max(EDGE_PX, Math.min(left, document.documentElement.clientWidth - width - EDGE_PX))}px`;
}

function menuOf(message, isOwn, act) {
  const menu = element('div', 'menu');
  const done = (what) => () => {
    closeMenu();
    what();
  };
  const emojis = element('div', 'emojis');
  for (const emoji of EMOJIS) {
    emojis.append(button('emoji', emoji, `React with ${emoji}`, done(() => act.react(message, emoji, false))));
  }
  menu.append(emojis);
  if (isOwn) {
    const own = element('div', 'own-actions');
    own.append(
      button('edit', 'Edit', '', done(() => act.edit(message))),
      button('delete', 'Delete', '', done(() => act.remove(message))),
    );
    menu.append(own);
  }
  return menu;
}

addEventListener('pointerdown', ({ target }) => {
  if (open && !open.tools.contains(target)) closeMenu();
}, true);
addEventListener('keydown', (event) => {
  if (!open || event.key !== 'Escape') return;
  event.preventDefault();
  event.stopPropagation();
  closeMenu();
}, true);
addEventListener('focusin', ({ target }) => {
  if (open && !open.tools.contains(target)) closeMenu();
});
addEventListener('resize', closeMenu);
