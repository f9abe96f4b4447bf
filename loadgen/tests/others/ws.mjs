// The same closed loop by the client of `ws` for Node.js.
import { WebSocket } from 'ws';

const { URL: url, USERS, LENGTH, PAUSE } = process.env;
const text = 'x'.repeat(20), end = performance.now() + Number(LENGTH) * 1000, latencies = [];
let left = Number(USERS);

function report() {
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.floor(latencies.length * share)].toFixed(2);
  console.log(`answered ${latencies.length} p50 ${at(.5)} p99 ${at(.99)} p99.9 ${at(.999)} max ${latencies.at(-1).toFixed(2)}`);
}

for (let i = 0; i < Number(USERS); i += 1) {
  const socket = new WebSocket(url, { perMessageDeflate: false, rejectUnauthorized: false });
  let sent = 0;
  const send = () => {
    sent = performance.now();
    socket.send(text);
  };
  socket.on('open', send);
  socket.on('message', (data) => {
    if (data.toString() !== text) throw new Error('another message');
    latencies.push(performance.now() - sent);
    if (performance.now() > end) socket.close();
    else if (Number(PAUSE)) setTimeout(send, Number(PAUSE));
    else send();
  });
  socket.on('close', () => {
    left -= 1;
    if (!left) report();
  });
}
