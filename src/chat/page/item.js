// One message, as an element of the log.

import { button, element } from './dom.js';
import { person } from './person.js';
import { timeElement } from './time.js';

/** `act`: { react(message, emoji, remove), tools(message, isOwn) }; `can` says whether messages of this room can be changed. */
export function messageItem(message, { client, act, can }) {
  const isOwn = client.isOwn(message);
  const item = element('li', isOwn ? 'message own' : 'message');
  item.tabIndex = -1;
  item.dataset.seq = message.seq;
  const head = element('p', 'head');
  head.append(person(message, isOwn), ' ', timeElement(message.time));
  if (message.edited !== undefined && !message.deleted) head.append(element('span', 'edited', ' edited'));
  const body = element('p', message.deleted ? 'body gone' : 'body', message.deleted ? 'Deleted' : message.text);
  body.dir = 'auto';
  item.append(head, body);
  if (message.deleted || !can) return item;
  if (message.reactions.size > 0) item.append(reactions(message, client, act));
  item.append(act.tools(message, isOwn));
  return item;
}

function reactions(message, client, act) {
  const row = element('div', 'reactions');
  for (const [emoji, users] of message.reactions) {
    const isMine = users.some((one) => client.isOwn(one));
    const label = `${users.length} ${emoji}, ${users.map(({ user }) => user).join(', ')}`;
    const chip = button('chip', '', label, () => act.react(message, emoji, isMine));
    const sign = element('span', 'chip-sign', emoji);
    sign.dir = 'auto';
    chip.append(sign, ` ${users.length}`);
    chip.setAttribute('aria-pressed', String(isMine));
    row.append(chip);
  }
  return row;
}
