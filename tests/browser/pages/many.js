// Put before the chat page by ../bench.js: a socket that is no socket, behind which a server tells as many messages as one wants.
// `bench(total, posts)` fills the room up to `total` messages, then tells `posts` more, one a frame, and returns what each cost.

const ROOM = 'general';
let socket = null;
let seq = 0;

window.WebSocket = class extends EventTarget {
  static OPEN = 1;

  readyState = 0;

  constructor() {
    super();
    socket = this;
    setTimeout(() => {
      this.readyState = 1;
      this.dispatchEvent(new Event('open'));
    });
  }

  send(text) {
    setTimeout(() => this.#answer(JSON.parse(text)));
  }

  #answer({ type, id, user, room }) {
    const members = [{ client: 'c1', user: 'Reader', verified: false }];
    if (type === 'hello') this.tell({ type: 'welcome', id, client: 'c1', user, verified: false, heartbeat_ms: 60_000, limits: {} });
    else if (type === 'join') {
      this.tell({ type: 'joined', id, room, epoch: 'e', seq, rev: 0, recovered: false, messages: [], changes: [], members, count: 1, read: 0 });
    } else if (id) this.tell({ type: 'ack', id });
  }

  close() {}

  tell(value) {
    this.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(value) }));
  }
};

function post() {
  seq += 1;
  const text = seq % 10 ? `message ${seq}, of the length that people write` : `**message** ${seq} to @Reader, see https://a.example/${seq}\n- one\n- two`;
  socket.tell({ type: 'message', room: ROOM, seq, prev: seq - 1, user: `user ${seq % 7}`, client: 'c2', text, time: 1.7e12 + seq * 40_000 });
}

const frame = () => new Promise(requestAnimationFrame);

window.bench = async (total, posts) => {
  while (seq < total) {
    for (let i = 0; i < 500 && seq < total; i += 1) post();
    await frame();
  }
  for (let i = 0; i < 30; i += 1) await frame();
  const log = document.getElementById('log');
  const costs = [];
  let late = 0;
  let before = await frame();
  for (let i = 0; i < posts; i += 1) {
    // First in its frame, so that what the page does in the frame lies between this and what is asked for behind the message.
    let start;
    requestAnimationFrame(() => { start = performance.now(); });
    const told = performance.now();
    post();
    const taken = performance.now() - told;
    const at = await frame();
    // With the layout that the browser would do next.
    const isLaidOut = log.scrollHeight > 0;
    if (isLaidOut) costs.push(taken + performance.now() - start);
    late += Number(at - before > 25);
    before = at;
  }
  costs.sort((a, b) => a - b);
  const share = (part) => Number(costs[Math.floor((costs.length - 1) * part)].toFixed(2));
  return { total, elements: document.getElementById('messages').childElementCount, median: share(0.5), p95: share(0.95), most: share(1), late };
};
