// What the page does first: it opens the socket, while the rest of the page is still on its way.

/** Beside the page, wherever a proxy has put it. */
export const ADDRESS = new URL('ws', document.baseURI).href.replace(/^http/, 'ws');
export const SUBPROTOCOL = 'chat.v1.json';

let socket = new WebSocket(ADDRESS, [SUBPROTOCOL]);

/** That socket, to the first who asks; null when it has failed already. */
export function takeSocket() {
  const taken = socket;
  socket = null;
  return taken && taken.readyState <= WebSocket.OPEN ? taken : null;
}
