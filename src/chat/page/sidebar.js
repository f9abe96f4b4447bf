// The rooms at one side, the people of the open room at the other.

import { button, byId, element, nameElement } from './dom.js';
import { verifiedMark } from './messages.js';

/** `act`: { open(room), leave(room) } */
export function showRooms(client, active, act) {
  const items = [...client.rooms.values()].map((room) => {
    const item = element('li');
    const open = button('room', '', '', () => act.open(room));
    const name = element('span', 'room-name', room.isDirect ? room.name : `# ${room.name}`);
    name.dir = 'auto';
    open.append(name);
    if (room === active) open.setAttribute('aria-current', 'page');
    const unread = room === active && document.visibilityState === 'visible' ? 0 : room.unread(client.user);
    if (unread > 0) {
      const badge = element('span', 'badge', unread > 99 ? '99+' : String(unread));
      badge.append(element('span', 'visually-hidden', ' unread'));
      open.append(badge);
    }
    item.append(open);
    if (client.rooms.size > 1) item.append(button('leave', '×', `Leave ${room.name}`, () => act.leave(room)));
    return item;
  });
  keepFocus(byId('rooms'), items);
}

/** `act`: { direct(user) } */
export function showPeople(client, room, act) {
  const people = room.isDirect ? [] : room.people();
  byId('count').textContent = room.isDirect ? '' : String(room.count);
  byId('people-button').hidden = room.isDirect;
  keepFocus(byId('people'), people.map(({ user, verified }) => {
    const item = element('li');
    const isSelf = user === client.user;
    if (isSelf) {
      item.append(nameElement(user), element('span', 'you', ' (you)'));
    } else {
      const open = button('person', '', `Write to ${user}`, () => act.direct(user));
      open.append(nameElement(user));
      item.append(open);
    }
    if (verified) item.append(' ', verifiedMark());
    return item;
  }));
  const more = room.count - room.members.size;
  byId('people-more').textContent = more > 0 ? `and ${more} more` : '';
}

/** Replaces a list without taking the focus from who is in it. */
function keepFocus(list, items) {
  const at = [...list.querySelectorAll('button')].indexOf(document.activeElement);
  list.replaceChildren(...items);
  if (at >= 0) list.querySelectorAll('button')[at]?.focus();
}
