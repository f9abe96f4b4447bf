// Echo or fan-out on Bun, which carries uWebSockets: bun bun.js echo|fanout PORT [CERT KEY]
const [mode, port, cert, key] = process.argv.slice(2);
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  tls: cert && { cert: Bun.file(cert), key: Bun.file(key) },
  fetch(request, server) {
    if (!server.upgrade(request)) return new Response('this is a WebSocket', { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 64 << 20,
    backpressureLimit: 1 << 30,
    idleTimeout: 0,
    sendPings: false,
    open(socket) {
      if (mode === 'fanout') socket.subscribe('everyone');
    },
    message(socket, message) {
      if (mode === 'fanout') server.publish('everyone', message);
      else socket.send(message);
    },
  },
});
