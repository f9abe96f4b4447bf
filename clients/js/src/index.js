// A client for the chat of Switchboard: for browsers, workers, Node.js, Deno, Bun and React Native.

export { Client } from './client.js';
export { environmentOf } from './environment.js';
export { Disconnected, Refused } from './errors.js';
export { mentions } from './mentions.js';
export { Piece } from './piece.js';
export { Room, keyOf } from './room.js';
export { memoryStore, webStore } from './storage.js';

/** @typedef {import('./client.js').Ack} Ack */
/** @typedef {import('./client.js').Events} Events */
/** @typedef {import('./client.js').Options} Options */
/** @typedef {import('./client.js').Token} Token */
/** @typedef {import('./connection.js').Environment} Environment */
/** @typedef {import('./connection.js').State} State */
/** @typedef {import('./errors.js').RefusalCode} RefusalCode */
/** @typedef {import('./outbox.js').Post} Post */
/** @typedef {import('./storage.js').Store} Store */
/** @typedef {import('./wire.js').ListedRoom} ListedRoom */
/** @typedef {import('./wire.js').Member} Member */
/** @typedef {import('./wire.js').Message} Message */
/** @typedef {import('./wire.js').OwnRoom} OwnRoom */
/** @typedef {import('./wire.js').Page} Page */
/** @typedef {import('./wire.js').Unread} Unread */
