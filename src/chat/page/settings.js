// What the person may choose, and the keys of the page. Loaded when somebody opens it.

import { byId, element } from './dom.js';
import { isOn, turnOn } from './notify.js';
import { hasOneKey, setOneKey } from './search.js';
import { areFramesOpen, onFramesToggled, toggleFrames } from './tap.js';
import { chooseLanguage, lang, languages, t } from './words.js';

const KEYS = [
  ['Ctrl K', '/', 'keys_search'], ['Shift Enter', 'keys_line'], ['↑', 'keys_edit'], ['Ctrl B', 'Ctrl I', 'Ctrl E', 'keys_format'],
  ['↑', '↓', 'keys_log'], ['F2', 'keys_frames'],
];

const dialog = byId('settings');

/** Opens the dialog. */
export function openSettings() {
  byId('set-notify').checked = isOn();
  byId('set-one-key').checked = hasOneKey();
  byId('set-frames').checked = areFramesOpen();
  dialog.showModal();
}

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
byId('set-one-key').addEventListener('change', ({ target }) => setOneKey(target.checked));
byId('set-frames').addEventListener('change', ({ target }) => toggleFrames(target.checked));
byId('keys').append(...KEYS.map((entry) => {
  const row = element('div');
  const keys = element('dt');
  keys.append(...entry.slice(0, -1).flatMap((key) => [element('kbd', '', key), ' ']));
  row.append(keys, element('dd', '', t(entry.at(-1))));
  return row;
}));
byId('formats').textContent = t('formats_text');
onFramesToggled((isOpen) => { byId('set-frames').checked = isOpen; });
