// Looking for messages of the open room.

import { button, byId, element } from './dom.js';
import { person } from './person.js';
import { timeElement } from './time.js';

let act = null;

/** `actions`: { search(query) for messages, goTo(message), failed(error), acts() } */
export function setUpSearch(actions) {
  act = actions;
  byId('search-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const query = byId('query').value.trim();
    if (!query) return closeSearch();
    act.acts();
    try {
      showFound(query, await act.search(query));
    } catch (error) {
      act.failed(error);
    }
    return undefined;
  });
  byId('query').addEventListener('search', () => byId('query').value || closeSearch());
  byId('close-found').addEventListener('click', closeSearch);
}

export function closeSearch() {
  byId('found').hidden = true;
  byId('query').value = '';
}

function showFound(query, messages) {
  if (query !== byId('query').value.trim()) return;
  byId('found').hidden = false;
  const title = new Map([[0, 'No message has all these words.'], [1, '1 message']]);
  byId('found-title').textContent = title.get(messages.length) ?? `${messages.length} messages`;
  byId('found-list').replaceChildren(...messages.map((message) => {
    const item = element('li');
    const show = button('hit', '', '', () => act.goTo(message));
    const body = element('span', 'body', message.text);
    body.dir = 'auto';
    show.append(person(message), ' ', timeElement(message.time), body);
    item.append(show);
    return item;
  }));
}
