// The rooms at one side, the people of the open room at the other.

import { button, byId, element, keyed } from './dom.js';
import { nameElement, marks, person } from './person.js';

let rooms = new Map();
let people = new Map();
let openRoom = null;

/** `act`: { open(room), leave(room) } */
export function showRooms(client, active, act) {
  const wanted = [...client.rooms.values()].map((room) => {
    const isActive = room === active;
    const unread = isActive && document.visibilityState === 'visible' ? 0 : room.unread;
    const canLeave = client.rooms.size > 1;
    const state = JSON.stringify([room.name, isActive, unread, canLeave, room.isVerified]);
    return { key: room, state, make: () => roomItem(room, { isActive, unread, canLeave }, act) };
  });
  rooms = keyed(byId('rooms'), rooms, wanted);
  if (openRoom !== active) rooms.get(active)?.item.scrollIntoView({ block: 'nearest' });
  openRoom = active;
}

function roomItem(room, { isActive, unread, canLeave }, act) {
  const item = element('li');
  const open = button('room', '', '', () => act.open(room));
  const name = element('span', 'room-name', room.isDirect ? room.name : `# ${room.name}`);
  name.dir = 'auto';
  open.append(name);
  if (room.isVerified) open.append(...marks({ user: room.name, verified: true }));
  if (isActive) open.setAttribute('aria-current', 'page');
  if (unread > 0) {
    const badge = element('span', 'badge', unread > 99 ? '99+' : String(unread));
    badge.append(element('span', 'visually-hidden', ' unread'));
    open.append(badge);
  }
  item.append(open);
  if (canLeave) item.append(button('leave', '×', `Leave ${room.name}`, () => act.leave(room)));
  return item;
}

/** `act`: { direct(person) } */
export function showPeople(client, room, act) {
  const here = room.isDirect ? [] : room.people();
  const more = Math.max(0, room.count - room.members.size);
  // One person with two tabs is one person.
  for (const id of ['count', 'people-count']) byId(id).textContent = String(more > 0 ? room.count : here.length);
  byId('people-button').hidden = room.isDirect;
  byId('people-panel').hidden = room.isDirect;
  const wanted = here.map((one) => {
    const isOwn = client.isOwn(one);
    const state = JSON.stringify([one.user, one.verified, one.lookalike, isOwn]);
    return { key: `${one.verified} ${one.user}`, state, make: () => personItem(one, isOwn, act) };
  });
  people = keyed(byId('people'), people, wanted);
  byId('people-more').textContent = more > 0 ? `and ${more} more` : '';
}

function personItem(one, isOwn, act) {
  const item = element('li', isOwn ? 'self' : '');
  if (isOwn) {
    item.append(person(one, true));
    return item;
  }
  const open = button('person-button', '', `Write to ${one.user}`, () => act.direct(one));
  open.append(nameElement(one.user));
  item.append(open, ...marks(one));
  return item;
}
