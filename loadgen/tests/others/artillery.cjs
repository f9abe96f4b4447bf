// What the WebSocket engine of artillery does not have: the answer to each message is awaited, compared and timed. By itself it
// counts messages, and reports no latency of them.
const { performance } = require('node:perf_hooks');

const text = 'x'.repeat(20), end = Date.now() + Number(process.env.LENGTH) * 1000;

module.exports = {
  ask({ ws }, events, done) {
    const sent = performance.now();
    ws.onmessage = ({ data }) => {
      if (String(data) === text) events.emit('histogram', 'latency', performance.now() - sent);
      done();
    };
    ws.send(text);
  },
  more(_context, next) {
    next(Date.now() < end);
  },
};
