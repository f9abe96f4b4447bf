// A closed loop, as scripts for k6 are written: each user sends its next message a pause after the answer to the last one.
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { WebSocket } from 'k6/experimental/websockets';

const answered = new Counter('answered');
const latency = new Trend('latency', true);
const { URL, USERS, LENGTH, PAUSE } = __ENV;
const text = 'x'.repeat(20);

export const options = {
  vus: Number(USERS), iterations: Number(USERS), insecureSkipTLSVerify: true,
  summaryTrendStats: ['med', 'p(99)', 'p(99.9)', 'max'],
};

export default function () {
  const socket = new WebSocket(URL), end = Date.now() + Number(LENGTH) * 1000;
  let sent = 0;
  const send = () => {
    sent = Date.now();
    socket.send(text);
  };
  socket.onopen = send;
  socket.onmessage = ({ data }) => {
    check(data, { same: (it) => it === text });
    latency.add(Date.now() - sent);
    answered.add(1);
    if (Date.now() > end) socket.close();
    else if (Number(PAUSE)) setTimeout(send, Number(PAUSE));
    else send();
  };
}
