// Echo or fan-out on Node.js with ws: node node-ws.js echo|fanout PORT [CERT KEY]
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { WebSocketServer } from 'ws';

const [mode, port, cert, key] = process.argv.slice(2);
const listener = cert
  ? https.createServer({ cert: readFileSync(cert), key: readFileSync(key) })
  : http.createServer();
const server = new WebSocketServer({
  server: listener,
  perMessageDeflate: false,
  maxPayload: 64 << 20,
});
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => {
    if (mode === 'fanout') for (const client of server.clients) client.send(data, { binary: isBinary });
    else socket.send(data, { binary: isBinary });
  });
});
listener.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
