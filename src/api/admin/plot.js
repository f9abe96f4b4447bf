// A small plot of the last values of a figure. The number beside it says the same, so it is hidden from readers of the screen.

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 100;
const HEIGHT = 32;
/** Values of one plot: two minutes at one in two seconds. */
const MOST = 60;

export class Plot {
  #values = [];
  #line = document.createElementNS(SVG, 'polyline');
  element = document.createElementNS(SVG, 'svg');

  constructor() {
    this.element.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.element.setAttribute('preserveAspectRatio', 'none');
    this.element.setAttribute('aria-hidden', 'true');
    this.element.append(this.#line);
  }

  add(value) {
    this.#values.push(value);
    if (this.#values.length > MOST) this.#values.shift();
    const top = Math.max(1, ...this.#values);
    const step = WIDTH / (MOST - 1);
    const start = WIDTH - (this.#values.length - 1) * step;
    const points = this.#values.map((it, at) => `${(start + at * step).toFixed(1)},${(HEIGHT * (1 - it / top)).toFixed(1)}`);
    this.#line.setAttribute('points', points.join(' '));
  }
}
