// Echo or fan-out on Node.js with ws: node node-ws.js echo|fanout PORT
import { WebSocketServer } from 'ws';

const [mode, port] = process.argv.slice(2);
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(port),
  backlog: 4096,
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
