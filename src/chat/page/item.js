// One message, as an element of the log.

import { button, element } from './dom.js';
import { avatar, person } from './person.js';
import { isJumbo, rendered } from './text.js';
import { timeElement } from './time.js';
import { t } from './words.js';

/**
 * `act`: { react(message, emoji, remove), undo(message), tools(message, isOwn) }; `can` says whether messages of this room can be
 * changed; `people` are those who may be mentioned; `address` is where the message is found again.
 */
export function messageItem(message, { client, act, can, people, address }) {
  const isOwn = client.isOwn(message);
  const item = element('li', isOwn ? 'message own' : 'message');
  item.tabIndex = -1;
  item.dataset.seq = message.seq;
  item.append(avatar(message.user), head(message, isOwn, address), body(message, people));
  if (message.isLeaving) item.append(undo(message, act));
  if (message.deleted || message.isLeaving) return item;
  if (message.reactions.size > 0) item.append(reactions(message, client, act, can));
  item.append(act.tools(message, isOwn));
  return item;
}

function head(message, isOwn, address) {
  const made = element('p', 'head');
  const at = timeElement(message.time, 'hour');
  if (address) {
    const link = element('a', 'when');
    link.href = address;
    link.tabIndex = -1;
    link.setAttribute('aria-label', `${at.textContent}, ${t('link_to')}`);
    link.append(at);
    made.append(person(message, isOwn), ' ', link);
  } else made.append(person(message, isOwn), ' ', at);
  return made;
}

function body(message, people) {
  const made = element('div', 'body');
  made.dir = 'auto';
  if (message.deleted || message.isLeaving) {
    made.classList.add('gone');
    made.textContent = t(message.deleted ? 'deleted' : 'deleting');
    return made;
  }
  made.append(...rendered(message.text, people));
  made.classList.toggle('jumbo', isJumbo(message.text));
  if (!message.edited) return made;
  const shown = element('div', 'said');
  shown.append(made, element('span', 'edited', t('edited')));
  return shown;
}

function undo(message, act) {
  const made = element('p', 'undo');
  const back = button('', t('undo'), '', () => act.undo(message));
  back.tabIndex = -1;
  made.append(back);
  return made;
}

function reactions(message, client, act, can) {
  const row = element('div', 'reactions');
  for (const [emoji, users] of message.reactions) {
    const isMine = users.some((one) => client.isOwn(one));
    const label = `${users.length} ${emoji}, ${users.map(({ user }) => user).join(', ')}`;
    const chip = button('chip', '', label, () => act.react(message, emoji, isMine));
    const sign = element('span', 'chip-sign', emoji);
    sign.dir = 'auto';
    chip.append(sign, ` ${users.length}`);
    chip.setAttribute('aria-pressed', String(isMine));
    chip.disabled = !can;
    chip.tabIndex = -1;
    row.append(chip);
  }
  return row;
}
