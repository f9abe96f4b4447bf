// What can be done with a message or with a person: a menu in the top layer, beside its button, within the window whatever scrolls
// or covers.

import { button, element } from './dom.js';
import { pickEmoji } from './later.js';
import { t } from './words.js';

const EMOJIS = ['👍', '❤️', '😂', '🎉', '😮', '😢'];
const EDGE_PX = 8;

/** The one that is open: { tools, menu } */
let open = null;

/**
 * `act`: { react(message, emoji, remove), reply(message), edit(message), remove(message), copyLink(message), moderate }; `may` says
 * what is permitted: { change, moderate, ban }
 */
export function toolsOf(message, isOwn, act, may) {
  return disclosure(t('more_about', { user: message.user }), () => {
    const menu = element('div', 'menu');
    if (may.change) menu.append(emojis(message, act));
    const actions = element('div', 'actions');
    const add = (className, words, what) => actions.append(button(className, words, '', done(what)));
    add('reply', t('reply'), () => act.reply(message));
    if (may.change) add('copy', t('copy_link'), () => act.copyLink(message));
    if (may.change && isOwn) add('edit', t('edit'), () => act.edit(message));
    if (may.change && (isOwn || may.moderate)) add('delete', t('remove'), () => act.remove(message));
    if (!isOwn) moderation(message, act, may, add);
    menu.append(actions);
    return menu;
  });
}

/** What a moderator can do with a person. */
export function toolsOfPerson(one, act, may) {
  return disclosure(t('tools_for', { user: one.user }), () => {
    const menu = element('div', 'menu');
    const actions = element('div', 'actions');
    moderation(one, act, may, (className, words, what) => actions.append(button(className, words, '', done(what))));
    menu.append(actions);
    return menu;
  });
}

function moderation({ user }, act, may, add) {
  if (may.moderate) add('kick', t('kick'), () => act.kick(user));
  if (may.ban) add('ban', t('ban'), () => act.ban(user));
}

const done = (what) => () => {
  closeMenu();
  what();
};

function emojis(message, act) {
  const made = element('div', 'emojis');
  for (const emoji of EMOJIS) {
    made.append(button('emoji', emoji, t('react_with', { emoji }), done(() => act.react(message, emoji, false))));
  }
  made.append(button('emoji more', '+', t('more_emojis'), () => {
    const summary = open.tools.querySelector('summary');
    closeMenu();
    pickEmoji(summary, (emoji) => act.react(message, emoji, false));
  }));
  return made;
}

function disclosure(label, make) {
  const tools = element('details', 'tools');
  const summary = element('summary', '', '⋯');
  summary.tabIndex = -1;
  summary.setAttribute('aria-label', label);
  tools.append(summary);
  summary.addEventListener('click', (event) => {
    event.preventDefault();
    const isOpen = open?.tools === tools;
    closeMenu();
    if (!isOpen) openMenu(tools, make());
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

/** Puts what is in the top layer below a button where there is room for it, above it otherwise; never beyond an edge. */
export function place(shown, beside) {
  const { width, height } = shown.getBoundingClientRect();
  const floor = innerHeight - EDGE_PX;
  const below = beside.bottom + 4;
  const top = below + height <= floor ? below : Math.min(beside.top - 4, floor) - height;
  const isRtl = getComputedStyle(shown).direction === 'rtl';
  const left = isRtl ? beside.left : beside.right - width;
  shown.style.top = `${Math.max(EDGE_PX, top)}px`;
  shown.style.left = `${Math.max(EDGE_PX, Math.min(left, document.documentElement.clientWidth - width - EDGE_PX))}px`;
}

/** The arrows go from button to button. */
addEventListener('keydown', (event) => {
  if (!open) return;
  if (event.key === 'Escape') {
    event.preventDefault();
    event.stopPropagation();
    closeMenu();
    return;
  }
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!step || !open.menu.contains(document.activeElement)) return;
  event.preventDefault();
  const all = [...open.menu.querySelectorAll('button')];
  all.at((all.indexOf(document.activeElement) + step) % all.length).focus();
}, true);
addEventListener('pointerdown', ({ target }) => {
  if (open && !open.tools.contains(target)) closeMenu();
}, true);
addEventListener('focusin', ({ target }) => {
  if (open && !open.tools.contains(target)) closeMenu();
});
addEventListener('resize', closeMenu);
