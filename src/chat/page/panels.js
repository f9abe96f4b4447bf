// On a narrow window the rooms and the people are panels over the messages, one at a time.

import { byId } from './dom.js';

const PANELS = [['rooms-button', 'rooms-panel'], ['people-button', 'people-panel']];

export function setUpPanels() {
  for (const [opener, panel] of PANELS) {
    byId(opener).addEventListener('click', () => {
      const isOpen = byId(panel).classList.contains('open');
      closePanels();
      if (!isOpen) openPanel(panel);
    });
  }
}

export function openPanel(name) {
  byId(name).classList.add('open');
  document.querySelector(`[aria-controls="${name}"]`).setAttribute('aria-expanded', 'true');
  // Until now it had no height, and nothing could be scrolled to.
  document.querySelector(`#${name} [aria-current]`)?.scrollIntoView({ block: 'nearest' });
}

export function closePanels() {
  for (const panel of document.querySelectorAll('.open')) panel.classList.remove('open');
  for (const [opener] of PANELS) byId(opener).setAttribute('aria-expanded', 'false');
}
