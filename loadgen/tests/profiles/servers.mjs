// Servers of other projects, one for each profile that has one in the npm registry. Prints a line "PROFILE URL" for each,
// and ends with its standard input.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { Server as SocketServer } from 'socket.io';
import { WebSocketServer, createWebSocketStream } from 'ws';

const require = createRequire(import.meta.url);
const aedes = require('aedes')();

/** Listens on a free port of this machine; prints the profile and its URL. */
function listen(profile, path, http) {
  http.listen(0, '127.0.0.1', () => console.log(`${profile} ws://127.0.0.1:${http.address().port}${path}`));
}

const socketHttp = createServer();
const sockets = new SocketServer(socketHttp, { transports: ['websocket'], pingInterval: 300, pingTimeout: 300 });
sockets.on('connection', (socket) => socket.on('message', (message, acknowledge) => acknowledge(message)));
listen('socketio', '/socket.io/?EIO=4&transport=websocket', socketHttp);

const schema = new GraphQLSchema({
  query: new GraphQLObjectType({ name: 'Query', fields: { hello: { type: GraphQLString, resolve: () => 'world' } } }),
});
const graphqlHttp = createServer();
useServer({ schema }, new WebSocketServer({ server: graphqlHttp, path: '/graphql' }));
listen('graphql-ws', '/graphql', graphqlHttp);

const mqttHttp = createServer();
new WebSocketServer({ server: mqttHttp, handleProtocols: () => 'mqtt' }).on('connection', (socket, request) => {
  const stream = createWebSocketStream(socket);
  stream.on('error', () => {});
  aedes.handle(stream, request);
});
listen('mqtt', '/', mqttHttp);

process.stdin.on('end', () => process.exit(0)).resume();
