// Who is connected, and how connections ended.

import { pages, path, request } from './api.js';
import { $, confirmed, count, moment, octets, time } from './dom.js';
import { Table } from './table.js';

const PAGE = 50;
/** Ends of connections that are shown. */
const MOST_CLOSES = 200;

/** Ends a connection, after a question. */
async function disconnect({ user, client }, report) {
  const who = user ?? client;
  if (!(await confirmed(`Disconnect ${who}? The client may connect again.`, 'Disconnect'))) return;
  await report(async () => {
    await request('DELETE', path('connections', client), { query: { reason: 'disconnected by an operator' } });
    return `${who} is disconnected.`;
  });
}

export class Connections {
  #rows = [];
  #next;
  #wanted = PAGE;
  #table;

  constructor(report) {
    this.#table = new Table($('connections-table'), {
      empty: 'No connections.',
      columns: [
        { label: 'User', text: ({ user, verified }) => (user === undefined ? '–' : `${user}${verified ? ' ✓' : ''}`) },
        { label: 'Client', text: ({ client }) => client },
        { label: 'Address', text: ({ address }) => address },
        { label: 'Since', text: ({ since }) => moment(since) },
        { label: 'Rooms', text: ({ rooms, room_count: all }) => rooms.join(', ') + (all > rooms.length ? ` and ${count(all - rooms.length)} more` : '') },
        { label: 'Queue', isNumber: true, text: ({ queued }) => octets(queued) },
        {
          label: 'Actions',
          buttons: ({ user, client }) => [{ label: 'Disconnect', about: `${user ?? 'nobody'}, ${client}`, act: (row) => disconnect(row, report) }],
        },
      ],
    });
    $('connections-search').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#wanted = PAGE;
      report(() => this.refresh());
    });
    $('connections-more').addEventListener('click', () => {
      this.#wanted += PAGE;
      report(() => this.refresh());
    });
  }

  async refresh() {
    const query = { search: $('search').value.trim() };
    ({ found: this.#rows, next: this.#next } = await pages('connections', 'connections', { query, limit: this.#wanted }));
    this.#table.show(this.#rows.map((row) => ({ id: row.client, ...row })));
    $('connections-more').hidden = this.#next === undefined;
  }
}

export class Closes {
  #rows = [];
  #last;
  #table = new Table($('closes-table'), {
    empty: 'No connection has ended yet.',
    columns: [
      { label: 'Time', text: (row) => time(row.time) },
      { label: 'User', text: ({ user }) => user ?? '–' },
      { label: 'Address', text: ({ address }) => address },
      { label: 'Code', isNumber: true, text: ({ code }) => String(code) },
      { label: 'Reason', text: ({ reason }) => reason },
      { label: 'Silent', isNumber: true, text: ({ silent_ms: ms }) => `${count(ms)} ms` },
      { label: 'Unread', isNumber: true, text: ({ queued }) => octets(queued) },
    ],
  });

  async refresh() {
    const { closes, last } = await request('GET', 'closes', { query: { after: this.#last, limit: MOST_CLOSES } });
    // A server that was started again counts from the beginning.
    if (this.#last !== undefined && last < this.#last) {
      this.#rows = [];
      this.#last = undefined;
      return this.refresh();
    }
    this.#last = closes.at(-1)?.number ?? last;
    this.#rows = [...closes.reverse(), ...this.#rows].slice(0, MOST_CLOSES);
    this.#table.show(this.#rows.map((row) => ({ id: row.number, ...row })));
    return undefined;
  }
}
