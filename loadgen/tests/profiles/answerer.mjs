// The least that a server of each profile answers, so that what a message costs loadgen can be counted: all answers to what
// comes at once leave at once. The path of the URL names the profile. Prints its address, and ends with its standard input.
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const TEXT = 0x81, BINARY = 0x82, CLOSE = 0x88;

/** A frame of a server. */
function frame(first, payload) {
  const length = payload.length < 126 ? [payload.length] : [126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from([first, ...length]), payload]);
}

const seqOf = (text, pattern) => pattern.exec(text)[1];

/** What each profile says when a connection opens, and what it answers. */
const profiles = {
  echo: { answer: (text) => [text] },
  custom: { answer: (text) => [text] },
  phoenix: {
    answer: (text) => [`["1","${seqOf(text, /^\["1","(m?\d+)"/)}","room:lobby","phx_reply",{"response":{},"status":"ok"}]`],
  },
  socketio: {
    hello: ['0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'],
    answer: (text) => [text === '40' ? '40{"sid":"s"}' : `43${seqOf(text, /^42(\d+)/)}[]`],
  },
  pusher: {
    hello: ['{"event":"pusher:connection_established","data":"{}"}'],
    answer: (text) =>
      text.includes('subscribe')
        ? ['{"event":"pusher_internal:subscription_succeeded","channel":"bench","data":"{}"}']
        : ['{"event":"pusher:pong","data":{}}'],
  },
  centrifugo: {
    answer: (text) => {
      const method = /"(connect|subscribe|publish)"/.exec(text)[1];
      return [`{"id":${seqOf(text, /^\{"id":(\d+)/)},"${method}":{}}`];
    },
  },
  'graphql-ws': {
    answer: (text) => {
      if (text.includes('connection_init')) return ['{"type":"connection_ack"}'];
      const id = seqOf(text, /^\{"id":"(\d+)"/);
      return [`{"id":"${id}","type":"next","payload":{"data":{}}}`, `{"id":"${id}","type":"complete"}`];
    },
  },
  stomp: {
    answer: (text) =>
      text.startsWith('CONNECT')
        ? ['CONNECTED\nversion:1.2\n\n\0']
        : [`RECEIPT\nreceipt-id:${seqOf(text, /\nreceipt:(\d+)\n/)}\n\n\0`],
  },
  mqtt: {
    /** CONNACK, or the PUBACK of a PUBLISH whose length takes one octet. */
    answer: (_, packet) => {
      if (packet[0] === 0x10) return [Buffer.from([0x20, 2, 0, 0])];
      const at = 4 + packet.readUInt16BE(2);
      return [Buffer.from([0x40, 2, packet[at], packet[at + 1]])];
    },
  },
};

/** Takes the whole frames out of what was received: their opcodes and payloads, and the rest. */
function frames(received) {
  const whole = [];
  for (;;) {
    let length = received[1] & 127, at = 6;
    if (length === 126 && received.length > 4) [length, at] = [received.readUInt16BE(2), 8];
    if (received.length < 6 || received.length < at + length) return [whole, received];
    const payload = Buffer.from(received.subarray(at, at + length));
    for (let i = 0; i < length; i += 1) payload[i] ^= received[at - 4 + (i & 3)];
    whole.push([received[0], payload]);
    received = received.subarray(at + length);
  }
}

const server = createServer((socket) => {
  let received = Buffer.alloc(0), profile;
  socket.on('error', () => socket.destroy());
  socket.on('data', (octets) => {
    received = Buffer.concat([received, octets]);
    const out = [];
    if (!profile) {
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = received.toString('latin1', 0, end);
      received = received.subarray(end + 4);
      profile = profiles[/^GET \/([\w-]+)/.exec(head)[1]];
      const key = /^sec-websocket-key: *(\S+)/im.exec(head)[1], offered = /^sec-websocket-protocol: *([^,\r]+)/im.exec(head);
      const accept = createHash('sha1').update(key + GUID).digest('base64');
      out.push(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n`
        + `${offered ? `Sec-WebSocket-Protocol: ${offered[1]}\r\n` : ''}\r\n`);
      for (const text of profile.hello ?? []) out.push(frame(TEXT, Buffer.from(text)));
    }
    const [whole, rest] = frames(received);
    received = rest;
    for (const [first, payload] of whole) {
      if (first === CLOSE) out.push(frame(CLOSE, payload));
      else for (const answer of profile.answer(payload.toString(), payload)) {
        out.push(typeof answer === 'string' ? frame(TEXT, Buffer.from(answer)) : frame(BINARY, answer));
      }
    }
    socket.write(Buffer.concat(out.map((part) => Buffer.from(part))));
    if (whole.some(([first]) => first === CLOSE)) socket.end();
  });
});
server.listen(0, '127.0.0.1', () => console.log(`ws://127.0.0.1:${server.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();
