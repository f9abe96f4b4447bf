// What the promises of this library fail with: always one of these two.

/**
 * Why the server refuses a command: the codes of docs/chat-protocol.md.
 * @typedef {'bad_json' | 'unknown_type' | 'bad_field' | 'too_long' | 'not_joined' | 'not_found' | 'forbidden' | 'refused' | 'rate_limited'
 *   | 'room_full' | 'too_many_rooms' | 'unavailable' | 'shutting_down' | 'unknown'} RefusalCode
 */

/** The server did not do what it was asked for. The connection stays, and nothing else is lost. */
export class Refused extends Error {
  /**
   * @param {RefusalCode} code why
   * @param {string} message the same in words, in English
   * @param {string} [field] the field of the command that is at fault
   * @param {number} [retryAfter] milliseconds after which it may be tried again
   */
  constructor(code, message, field = '', retryAfter = undefined) {
    super(message);
    this.name = 'Refused';
    this.code = code;
    this.field = field;
    this.retryAfter = retryAfter;
  }
}

/**
 * There is no answer, since there is no connection. `offline`: nothing was sent. `lost`: it was sent, and the connection ended
 * before the answer; whether it was done is not known. `stopped`: the client was stopped, or the room left.
 */
export class Disconnected extends Error {
  /** @param {'offline' | 'lost' | 'stopped'} code */
  constructor(code) {
    super({ offline: 'not connected', lost: 'the connection was lost before the answer', stopped: 'stopped' }[code]);
    this.name = 'Disconnected';
    this.code = code;
  }
}
