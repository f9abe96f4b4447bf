// Live figures: how many there are now, and how many came in a second.

import { request } from './api.js';
import { $, count, element, octets, rate, setText } from './dom.js';
import { Plot } from './plot.js';

const now = (name, show = count) => ({ value: (stats) => stats[name], show });
const each = (name, show = rate) => ({ value: (stats, before, s) => (stats[name] - before[name]) / s, show });

const FIGURES = [
  ['Connections', now('connections')],
  ['Users', now('users')],
  ['Open rooms', now('open_rooms')],
  ['Posts a second', each('posts')],
  ['Messages in, a second', each('messages_in')],
  ['Messages out, a second', each('messages_out')],
  ['Sent, a second', each('bytes_out', octets)],
  ['Waits for slow readers', now('queued_bytes', octets)],
  ['Changes not yet durable', now('pending')],
  ['Refused commands a second', each('refused')],
  ['Milliseconds to commit', {
    value: (stats, before) => {
      const commits = stats.commits - before.commits;
      return commits === 0 ? 0 : (stats.commit_ms_sum - before.commit_ms_sum) / commits;
    },
    show: rate,
  }],
  ['Store failures', now('store_failures')],
];

export class Figures {
  #before;
  #shown = FIGURES.map(([label, figure]) => {
    const number = element('b', {}, '–');
    const plot = new Plot();
    $('plots').append(element('div', {}, element('dt', {}, label), element('dd', {}, number, plot.element)));
    return { ...figure, number, plot };
  });

  async refresh() {
    const stats = await request('GET', 'stats');
    const before = this.#before ?? stats;
    const seconds = Math.max((stats.time - before.time) / 1000, 0.001);
    for (const { value, show, number, plot } of this.#shown) {
      // A server that was started again counts from the beginning.
      const figure = Math.max(0, value(stats, before, seconds));
      setText(number, show(figure));
      plot.add(figure);
    }
    this.#before = stats;
    return stats;
  }
}
