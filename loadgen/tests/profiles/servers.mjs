// Servers of other projects, one for each profile. Prints a line "PROFILE URL" for each, and ends with its standard input.
// CENTRIFUGO is the binary of the one in ./centrifugo.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { Socket as PhoenixSocket } from 'phoenix';
import { Server as SocketServer } from 'socket.io';
import { WebSocket, WebSocketServer, createWebSocketStream } from 'ws';

const require = createRequire(import.meta.url);
const aedes = require('aedes')();

/** Listens on a free port of this machine. */
async function listen(http) {
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return `ws://127.0.0.1:${http.address().port}`;
}

/** Starts a process that ends with this one. */
function program(path, words, options) {
  const child = spawn(path, words, options);
  process.on('exit', () => child.kill('SIGKILL'));
  child.on('error', (error) => assert.fail(`${path}: ${error}`));
  child.on('exit', (code) => assert.fail(`${path} ${words.join(' ')} ended with ${code}`));
  return child;
}

async function socketio() {
  const http = createServer();
  const sockets = new SocketServer(http, { transports: ['websocket'], pingInterval: 300, pingTimeout: 300 });
  sockets.on('connection', (socket) => socket.on('message', (message, acknowledge) => acknowledge(message)));
  return `${await listen(http)}/socket.io/?EIO=4&transport=websocket`;
}

async function graphql() {
  const query = new GraphQLObjectType({ name: 'Query', fields: { hello: { type: GraphQLString, resolve: () => 'world' } } });
  const http = createServer();
  useServer({ schema: new GraphQLSchema({ query }) }, new WebSocketServer({ server: http, path: '/graphql' }));
  return `${await listen(http)}/graphql`;
}

async function mqtt() {
  const http = createServer();
  new WebSocketServer({ server: http, handleProtocols: () => 'mqtt' }).on('connection', (socket, request) => {
    const stream = createWebSocketStream(socket);
    stream.on('error', () => {});
    aedes.handle(stream, request);
  });
  return `${await listen(http)}/`;
}

async function centrifugo() {
  const { stdout } = program(process.env.CENTRIFUGO, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  for await (const line of createInterface(stdout)) return line;
}

/** soketi speaks the protocol of Pusher. It is a process of its own. */
async function pusher() {
  const probe = createServer();
  const port = new URL(await listen(probe)).port;
  await new Promise((resolve) => probe.close(resolve));
  const env = { ...process.env, SOKETI_HOST: '127.0.0.1', SOKETI_PORT: port, SOKETI_METRICS_ENABLED: '0' };
  program(process.execPath, ['node_modules/@soketi/soketi/bin/server.js', 'start'], { env, stdio: 'ignore' });
  const isUp = () =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
  for (let tries = 0; !(await isUp()); tries += 1) {
    assert(tries < 300, 'soketi did not listen within 30 s');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return `ws://127.0.0.1:${port}/app/app-key`;
}

/**
 * No registry that is at hand has the server of Phoenix. This one speaks the part of its protocol that the profile uses
 * (Phoenix.Socket.V2.JSONSerializer). It is strict, and Phoenix's own client for JavaScript must get along with it.
 */
async function phoenix() {
  const http = createServer();
  new WebSocketServer({ server: http, path: '/socket/websocket' }).on('connection', (socket, request) => {
    assert.equal(new URL(request.url, 'ws://localhost').searchParams.get('vsn'), '2.0.0');
    const joined = new Map();
    socket.on('message', (data) => {
      const [joinRef, ref, topic, event, payload, ...rest] = JSON.parse(data);
      const reply = (status, response = {}) =>
        socket.send(JSON.stringify([joinRef, ref, topic, 'phx_reply', { response, status }]));
      if (topic === 'phoenix' && event === 'heartbeat') return reply('ok');
      const isWhole = [joinRef, ref, topic, event].every((it) => typeof it === 'string') && rest.length === 0;
      if (!isWhole || typeof payload !== 'object') return socket.close(1002);
      if (event === 'phx_join') {
        joined.set(topic, joinRef);
        return reply('ok');
      }
      if (joined.get(topic) !== joinRef) return reply('error', { reason: 'unmatched topic' });
      return reply('ok', event === 'ping' ? {} : payload);
    });
  });
  const base = await listen(http);
  const client = new PhoenixSocket(`${base}/socket`, { transport: WebSocket, vsn: '2.0.0' });
  client.connect();
  const channel = client.channel('room:lobby', {});
  const answer = (push) => new Promise((resolve, reject) => push.receive('ok', resolve).receive('error', reject));
  await answer(channel.join());
  assert.deepEqual(await answer(channel.push('shout', { text: 'hello' })), { text: 'hello' });
  client.disconnect();
  return `${base}/socket/websocket?vsn=2.0.0`;
}

const servers = { socketio, 'graphql-ws': graphql, mqtt, phoenix, centrifugo, pusher };
for (const [profile, start] of Object.entries(servers)) console.log(`${profile} ${await start()}`);
process.stdin.on('end', () => process.exit(0)).resume();
