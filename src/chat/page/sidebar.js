// The rooms at one side, the people of the open room at the other.

import { button, byId, element, keyed } from './dom.js';
import { toolsOfPerson } from './menu.js';
import { avatar, marks, nameElement, person } from './person.js';
import { t } from './words.js';

let rooms = new Map();
let directs = new Map();
let people = new Map();
let openRoom = null;

/** `act`: { open(room), leave(room) } */
export function showRooms(client, active, act) {
  const wanted = (isDirect) => [...client.rooms.values()].filter((room) => room.isDirect === isDirect).map((room) => {
    const isActive = room === active;
    const isSeen = isActive && document.visibilityState === 'visible';
    const shown = {
      isActive, unread: isSeen ? 0 : room.unread, mentioned: isSeen ? 0 : room.mentioned, canLeave: client.rooms.size > 1,
    };
    const state = JSON.stringify([room.name, room.isVerified, shown]);
    return { key: room, state, make: () => roomItem(room, shown, act) };
  });
  rooms = keyed(byId('room-list'), rooms, wanted(false));
  directs = keyed(byId('direct-list'), directs, wanted(true));
  byId('direct-title').hidden = directs.size === 0;
  if (openRoom !== active) (rooms.get(active) ?? directs.get(active))?.item.scrollIntoView({ block: 'nearest' });
  openRoom = active;
}

function roomItem(room, { isActive, unread, mentioned, canLeave }, act) {
  const item = element('li');
  const open = button('room', '', '', () => act.open(room));
  const name = element('span', 'room-name', room.isDirect ? room.name : `# ${room.name}`);
  name.dir = 'auto';
  if (room.isDirect) open.append(avatar(room.name.slice(1)));
  open.append(name);
  if (room.isVerified) open.append(...marks({ user: room.name, verified: true }));
  if (isActive) open.setAttribute('aria-current', 'page');
  if (unread > 0) open.append(badge(room, unread, mentioned));
  item.append(open);
  if (canLeave) item.append(button('leave', '×', t('leave', { room: room.name }), () => act.leave(room)));
  return item;
}

/** Loud where somebody wants this person, quiet otherwise. */
function badge(room, unread, mentioned) {
  const made = element('span', mentioned > 0 || room.isDirect ? 'badge loud' : 'badge', unread > 99 ? '99+' : String(unread));
  made.append(element('span', 'visually-hidden', ` ${t('unread')}`));
  if (mentioned > 0) {
    const at = element('span', 'at-you', '@');
    at.setAttribute('role', 'img');
    at.setAttribute('aria-label', t('mentions_you'));
    made.prepend(at);
  }
  return made;
}

/** `act`: { direct(person), kick(user), ban(user) } */
export function showPeople(client, room, act) {
  const here = room.isDirect ? [] : room.people();
  const more = Math.max(0, room.count - room.members.size);
  // One person with two tabs is one person.
  for (const id of ['count', 'people-count']) byId(id).textContent = String(more > 0 ? room.count : here.length);
  byId('people-button').hidden = room.isDirect;
  byId('people-panel').hidden = room.isDirect;
  const may = { moderate: client.may('moderate', room), ban: client.may('ban', room) };
  const wanted = here.map((one) => {
    const isOwn = client.isOwn(one);
    const state = JSON.stringify([one.user, one.verified, one.lookalike, isOwn, may]);
    return { key: `${one.verified} ${one.user}`, state, make: () => personItem(one, { isOwn, may }, act) };
  });
  people = keyed(byId('people'), people, wanted);
  byId('people-more').textContent = more > 0 ? t('and_more', { n: more }) : '';
}

function personItem(one, { isOwn, may }, act) {
  const item = element('li', isOwn ? 'self' : '');
  if (isOwn) {
    item.append(avatar(one.user), person(one, true));
    return item;
  }
  const open = button('person-button', '', t('write_to', { user: one.user }), () => act.direct(one));
  open.append(avatar(one.user), nameElement(one.user));
  item.append(open, ...marks(one));
  if (may.moderate || may.ban) {
    const tools = toolsOfPerson(one, act, may);
    tools.querySelector('summary').tabIndex = 0;
    item.append(tools);
  }
  return item;
}
