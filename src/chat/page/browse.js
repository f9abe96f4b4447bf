// The rooms that one may join, in a dialog: looked through by the beginning of their names, and joined from there.

import { button, byId, element, isolated, say } from './dom.js';
import { placeWords } from './sentences.js';
import { clock } from './time.js';
import { parts, t } from './words.js';

const TYPED_MS = 150;

const dialog = byId('browse');
const query = byId('browse-query');
const list = byId('browse-list');
const more = byId('browse-more');
let act = null;
let next; // where the list goes on
let asked = 0; // counts, so that a late answer is known to be late
let typedTimer = 0;

/**
 * `actions`: { rooms({ prefix, after }) returns { rooms, next }, isMine(name), enter(name), failed(error) returns words }; opens the
 * dialog.
 */
export function browse(actions) {
  act = actions;
  query.value = '';
  list.replaceChildren();
  more.hidden = true;
  say(byId('browse-said'), '');
  dialog.showModal();
  query.focus();
  look();
}

async function look(after) {
  asked += 1;
  const own = asked;
  const prefix = typed();
  let answer;
  try {
    answer = await act.rooms({ prefix, after });
  } catch (error) {
    if (own === asked) say(byId('browse-said'), act.failed(error));
    return;
  }
  if (own !== asked) return;
  const items = answer.rooms.map(roomItem);
  const isSame = ({ name }) => name === prefix.normalize('NFKC').toLowerCase();
  if (!after) list.replaceChildren(...(prefix && !answer.rooms.some(isSame) ? [newItem(prefix)] : []), ...items);
  else list.append(...items);
  if (after) items[0]?.querySelector('button').focus();
  ({ next } = answer);
  more.hidden = next === '';
  say(byId('browse-said'), list.querySelector('.room-row') ? '' : t('browse_none'));
}

const typed = () => query.value.trim().replace(/^#\s*/, '');

function roomItem({ name, members, seq, time }) {
  const title = element('span', 'room-name', `# ${name}`);
  title.dir = 'auto';
  const about = [placeWords(members), seq > 0 ? t('browse_last', { time: clock(time) }) : t('browse_quiet')];
  const signs = act.isMine(name) ? [element('span', 'tag', t('browse_joined'))] : [];
  return row(name, title, ...signs, element('span', 'quiet', about.join(' · ')));
}

function newItem(name) {
  const title = element('span', '');
  title.append(...parts('make_room', { room: isolated(`# ${name}`) }));
  const item = row(name, title);
  item.classList.replace('room-row', 'new-row');
  return item;
}

function row(name, ...shown) {
  const item = element('li', 'room-row');
  const open = button('hit', '', '', () => {
    dialog.close();
    act.enter(name);
  });
  open.append(...shown);
  item.append(open);
  return item;
}

/** The arrows go through the rooms, from the field and back to it. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.isComposing) return;
  // A field for searches would take the key for itself.
  if (event.key === 'Escape') {
    event.preventDefault();
    dialog.close();
    return;
  }
  const all = [...list.querySelectorAll('button')];
  const at = all.indexOf(document.activeElement);
  if (event.key === 'Enter' && event.target === query) {
    event.preventDefault();
    clearTimeout(typedTimer);
    // What is typed is meant, whether or not the list has come.
    const exact = typed();
    if (!exact) return;
    dialog.close();
    act.enter(exact);
  }
  if (!step) return;
  event.preventDefault();
  if (at + step < 0) query.focus();
  else all[Math.min(at + step, all.length - 1)]?.focus();
}

dialog.addEventListener('keydown', walk);
dialog.addEventListener('click', ({ target }) => target === dialog && dialog.close());
dialog.addEventListener('close', () => {
  asked += 1;
  clearTimeout(typedTimer);
});
query.addEventListener('input', () => {
  clearTimeout(typedTimer);
  typedTimer = setTimeout(() => look(), TYPED_MS);
});
more.addEventListener('click', () => look(next));
byId('browse-close').addEventListener('click', () => dialog.close());
