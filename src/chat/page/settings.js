// What the person may choose, and the keys of the page.

import { byId, element } from './dom.js';
import { forThisBrowser } from './memory.js';
import { isOn, turnOn } from './notify.js';
import { chooseLanguage, lang, languages, t } from './words.js';

const ONE_KEY_STORED_AS = 'switchboard.one_key';
const KEYS = [
  ['Ctrl K', '/', 'keys_search'], ['Shift Enter', 'keys_line'], ['↑', 'keys_edit'], ['Ctrl B', 'Ctrl I', 'Ctrl E', 'keys_format'],
  ['↑', '↓', 'keys_log'], ['F2', 'keys_frames'],
];

/** Whether keys without Ctrl do something outside of fields: who speaks to the computer may not want that (WCAG 2.1.4). */
export const hasOneKey = () => forThisBrowser.read(ONE_KEY_STORED_AS) !== 'off';

/** `toggleFrames(isOpen)` opens and closes the developer's panel. Returns `framesToggled(isOpen)`. */
export function setUpSettings(toggleFrames) {
  const dialog = byId('settings');
  byId('settings-button').addEventListener('click', () => {
    byId('set-notify').checked = isOn();
    byId('set-one-key').checked = hasOneKey();
    dialog.showModal();
  });
  // A click beside the dialog is one on its backdrop.
  dialog.addEventListener('click', ({ target }) => target === dialog && dialog.close());
  byId('set-language').append(...[...languages].map(([code, name]) => {
    const option = element('option', '', name);
    option.value = code;
    option.lang = code;
    option.selected = code === lang;
    return option;
  }));
  // When the dialog is closed, so that nobody who walks through the list with the arrows is surprised.
  dialog.addEventListener('close', () => byId('set-language').value !== lang && chooseLanguage(byId('set-language').value));
  byId('set-notify').addEventListener('change', async ({ target }) => { target.checked = await turnOn(target.checked); });
  byId('set-one-key').addEventListener('change', ({ target }) => forThisBrowser.write(ONE_KEY_STORED_AS, target.checked ? 'on' : 'off'));
  byId('set-frames').addEventListener('change', ({ target }) => toggleFrames(target.checked));
  byId('keys').append(...KEYS.map((entry) => {
    const row = element('div');
    const keys = element('dt');
    keys.append(...entry.slice(0, -1).flatMap((key) => [element('kbd', '', key), ' ']));
    row.append(keys, element('dd', '', t(entry.at(-1))));
    return row;
  }));
  byId('formats').textContent = t('formats_text');
}

export const framesToggled = (isOpen) => { byId('set-frames').checked = isOpen; };
