// Bans and kicks; what everybody is told; the end of the server.

import { newKey, path, request } from './api.js';
import { $, confirmed, count, moment } from './dom.js';
import { Table } from './table.js';

const PAGE = 100;

export class Bans {
  #wanted = PAGE;
  #table;

  constructor(report) {
    this.#table = new Table($('bans-table'), {
      empty: 'Nobody is banned.',
      columns: [
        { label: 'User', text: ({ user }) => user },
        { label: 'Until', text: ({ until }) => (until === undefined ? 'for good' : moment(until)) },
        { label: 'Reason', text: ({ reason }) => reason ?? '' },
        { label: 'Actions', buttons: ({ user }) => [{ label: 'Lift', about: `the ban of ${user}`, act: (row) => report(() => this.#lift(row)) }] },
      ],
    });
    $('ban').addEventListener('submit', (event) => {
      event.preventDefault();
      report(() => this.#ban(event.target));
    });
    $('kick').addEventListener('submit', (event) => {
      event.preventDefault();
      report(async () => {
        const [room, user] = [$('kick-room').value.trim(), $('kick-user').value.trim()];
        await request('DELETE', path('rooms', room, 'members', user), { query: { reason: $('kick-reason').value.trim() } });
        event.target.reset();
        return `${user} is out of ${room}.`;
      });
    });
    $('bans-more').addEventListener('click', () => {
      this.#wanted += PAGE;
      report(() => this.refresh());
    });
  }

  async refresh() {
    const { bans, more } = await request('GET', 'bans', { query: { limit: this.#wanted } });
    this.#table.show(bans.map((ban) => ({ id: ban.user, ...ban })));
    $('bans-more').hidden = !more;
  }

  async #ban(form) {
    const user = $('ban-user').value.trim();
    const body = {};
    if ($('ban-for').value !== '') body.seconds = Number($('ban-for').value);
    if ($('ban-reason').value.trim() !== '') body.reason = $('ban-reason').value.trim();
    await request('PUT', path('bans', user), { body });
    form.reset();
    await this.refresh();
    return `${user} is banned.`;
  }

  async #lift({ user }) {
    await request('DELETE', path('bans', user));
    await this.refresh();
    return `The ban of ${user} is lifted.`;
  }
}

/** What concerns the whole server. */
export function operate(report) {
  // The key stays until the answer is there, so that nobody is told twice.
  let key = newKey();
  $('broadcast').addEventListener('submit', (event) => {
    event.preventDefault();
    report(async () => {
      const rooms = $('broadcast-rooms').value.split(',').map((room) => room.trim()).filter((room) => room !== '');
      const body = { text: $('broadcast-text').value, ...(rooms.length > 0 && { rooms }) };
      const { receivers } = await request('POST', 'broadcast', { body, key });
      event.target.reset();
      return `${count(receivers)} connections were told.`;
    });
  });
  // Another text is another request.
  $('broadcast').addEventListener('input', () => { key = newKey(); });
  $('broadcast').addEventListener('reset', () => { key = newKey(); });
  $('drain').addEventListener('click', async () => {
    if (!(await confirmed('Drain the server? All connections are closed, and the server ends.', 'Drain'))) return;
    await report(async () => {
      await request('POST', 'drain');
      return 'The server stops.';
    });
  });
}
