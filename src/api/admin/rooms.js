// The rooms, and who is in one of them.

import { pages, path, request } from './api.js';
import { $, confirmed, count, moment, rate } from './dom.js';
import { Table } from './table.js';

const PAGE = 50;

export class Rooms {
  #wanted = PAGE;
  /** Numbers of the newest messages, and when they were seen. */
  #before = new Map();
  #table;
  #members;

  constructor(report) {
    this.#members = new Members(report);
    this.#table = new Table($('rooms-table'), {
      empty: 'No rooms.',
      columns: [
        { label: 'Room', text: ({ room }) => room },
        { label: 'Members', isNumber: true, text: ({ members }) => count(members) },
        { label: 'Messages', isNumber: true, text: ({ seq }) => count(seq) },
        { label: 'A minute', isNumber: true, text: ({ perMinute }) => (perMinute === undefined ? '–' : rate(perMinute)) },
        { label: 'Newest', text: (row) => (row.time === 0 ? '–' : moment(row.time)) },
        {
          label: 'Actions',
          buttons: ({ room }) => [{ label: 'Members', about: `of ${room}`, act: (row) => report(() => this.#members.open(row.room)) }],
        },
      ],
    });
    $('rooms-more').addEventListener('click', () => {
      this.#wanted += PAGE;
      report(() => this.refresh());
    });
  }

  async refresh() {
    const { rooms, more } = await request('GET', 'rooms', { query: { limit: this.#wanted } });
    const now = performance.now();
    const seen = new Map();
    const rows = rooms.map((room) => {
      const before = this.#before.get(room.room);
      const minutes = before && (now - before.at) / 60_000;
      seen.set(room.room, { seq: room.seq, at: now });
      return { id: room.room, perMinute: minutes && Math.max(0, room.seq - before.seq) / minutes, ...room };
    });
    this.#before = seen;
    this.#table.show(rows);
    $('rooms-more').hidden = !more;
    await this.#members.refresh();
  }
}

class Members {
  #room;
  #wanted = PAGE;
  #table;

  constructor(report) {
    this.#table = new Table($('members-table'), {
      empty: 'Nobody is here.',
      columns: [
        { label: 'User', text: ({ user, verified }) => `${user}${verified ? ' ✓' : ''}` },
        { label: 'Client', text: ({ client }) => client },
        {
          label: 'Actions',
          buttons: ({ user }) => [{ label: 'Kick', about: user, act: (row) => this.#kick(row, report) }],
        },
      ],
    });
    $('members-more').addEventListener('click', () => {
      this.#wanted += PAGE;
      report(() => this.refresh());
    });
  }

  async open(room) {
    this.#room = room;
    this.#wanted = PAGE;
    $('members-title').textContent = `Members of ${room}`;
    $('members').hidden = false;
    await this.refresh();
    $('members-title').focus();
  }

  async refresh() {
    const room = this.#room;
    if (room === undefined) return;
    const { found, next } = await pages(`${path('rooms', room)}/members`, 'members', { limit: this.#wanted });
    if (room !== this.#room) return;
    this.#table.show(found.map((member) => ({ id: member.client, ...member })));
    $('members-more').hidden = next === undefined;
  }

  async #kick({ user }, report) {
    const room = this.#room;
    if (!(await confirmed(`Kick ${user} from ${room}? ${user} may come back.`, 'Kick'))) return;
    await report(async () => {
      await request('DELETE', path('rooms', room, 'members', user));
      await this.refresh();
      return `${user} is out of ${room}.`;
    });
  }
}
