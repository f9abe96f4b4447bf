// A WebSocket that comes back by itself.
//
// `connect` keeps one socket open to `url()` and calls `onState(open)` when that changes and `onMessage(value)` with each
// JSON message. It never queues: `send` returns false when there is no open socket, and the caller keeps what it has.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
const OPENING_LIMIT_MS = 10_000;

export function connect(url, protocols, { onState, onMessage }) {
  let socket = null;
  let timer = 0;
  let failures = 0;
  let notBefore = 0; // when the server wants us back, as performance.now()
  let isParked = false; // it is no use to come back before the person does something

  function open() {
    clearTimeout(timer);
    const opening = new WebSocket(url, protocols);
    socket = opening;
    timer = setTimeout(abandon, OPENING_LIMIT_MS);
    opening.addEventListener('open', () => {
      if (socket !== opening) return;
      clearTimeout(timer);
      onState(true);
    });
    opening.addEventListener('message', ({ data }) => {
      if (socket !== opening) return;
      failures = 0;
      onMessage(JSON.parse(data));
    });
    opening.addEventListener('close', () => {
      if (socket === opening) lost();
    });
  }

  function lost() {
    clearTimeout(timer);
    socket = null;
    onState(false);
    if (isParked) return;
    // Jitter over the whole step keeps the pages of a restarted server from coming back in one wave.
    const step = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures);
    failures += 1;
    const wanted = notBefore - performance.now();
    timer = setTimeout(open, Math.max(wanted, step / 2 + (Math.random() * step) / 2));
  }

  // Gives up a socket that does not answer, without waiting for its closing handshake.
  function abandon() {
    const silent = socket;
    lost();
    silent?.close();
  }

  // Gives up this socket, and opens another at once.
  function reopen() {
    const former = socket;
    socket = null;
    isParked = false;
    onState(false);
    former?.close();
    open();
  }

  function retryNow() {
    if (!socket && !isParked) open();
  }

  function send(value) {
    if (socket?.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(value));
    return true;
  }

  addEventListener('online', retryNow);
  addEventListener('pageshow', retryNow);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') retryNow();
  });
  open();
  return {
    send,
    abandon,
    reopen,
    comeBackAfter(ms) { notBefore = performance.now() + ms; },
    stayAway() { isParked = true; },
  };
}
