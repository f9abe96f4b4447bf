// A table whose rows stay the same elements while what they show changes: the focus stays where it is.

import { element, setText } from './dom.js';

/** A column: `text(row)` says what stands in a cell, or `buttons(row)` what can be done. */
export class Table {
  #columns;
  #rows = new Map();
  #body = element('tbody');
  #caption = element('caption');
  #empty;

  constructor(parent, { columns, empty }) {
    this.#columns = columns;
    this.#empty = empty;
    const heads = columns.map(({ label, isNumber }) => element('th', { scope: 'col', className: isNumber ? 'number' : '' }, label));
    parent.append(element('table', {}, this.#caption, element('thead', {}, element('tr', {}, ...heads)), this.#body));
    this.show([]);
  }

  /** Shows these rows, each with an `id`, in this order. */
  show(rows) {
    setText(this.#caption, rows.length === 0 ? this.#empty : `${rows.length} shown`);
    const wanted = new Set(rows.map(({ id }) => id));
    for (const [id, { line }] of this.#rows) {
      if (!wanted.has(id)) {
        line.remove();
        this.#rows.delete(id);
      }
    }
    let before = this.#body.firstElementChild;
    for (const row of rows) {
      const known = this.#rows.get(row.id) ?? this.#add(row);
      known.row = row;
      this.#columns.forEach(({ text }, at) => text && setText(known.line.cells[at], text(row)));
      if (known.line === before) before = before.nextElementSibling;
      else this.#body.insertBefore(known.line, before);
    }
  }

  #add(row) {
    const known = { row, line: element('tr') };
    for (const { label, buttons, isNumber } of this.#columns) {
      const cell = element('td', { className: isNumber ? 'number' : '', data: { label } });
      if (buttons) {
        const made = buttons(row).map(({ label: name, about, act }) => element('button', {
          type: 'button', 'aria-label': `${name} ${about}`, onclick: () => act(known.row),
        }, name));
        cell.append(element('div', { className: 'actions' }, ...made));
      }
      known.line.append(cell);
    }
    this.#rows.set(row.id, known);
    return known;
  }
}
