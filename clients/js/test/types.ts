// Compiled by package.test.js beside the package as it is installed: what is right, and what is not.

import { Client, Disconnected, Refused, environmentOf, memoryStore, webStore, type Ack, type Message, type Room, type State, type Store } from 'switchboard-chat';

const store: Store = webStore(() => localStorage);
const client = new Client({
  url: new URL('wss://chat.example/ws'), token: async () => 'a token', rooms: ['general'], storage: store, outbox: memoryStore(), environment: environmentOf(),
  on: { message: (room: Room, message: Message) => console.log(room.name, message.text.length) },
});
const off: () => void = client.on('posted', (post, { seq, durable }) => console.log(post.key, seq + 1, durable === 'disk'));
off();

export async function main(): Promise<void> {
  const room = await client.join('general');
  const ack: Ack = await client.say(room, 'hello', { data: { any: ['json'] }, replyTo: 1 });
  const state: State = client.state;
  if (state.at === 'parked') console.log(state.why, state.until);
  const messages: Message[] = await client.search(room, 'hello');
  const { rooms, next } = await client.listRooms({ prefix: 'g' });
  console.log(ack.seq, messages[0].reactions.get('🎉')?.length, rooms[0].members, next.length, room.permissions?.includes('post'));
  try {
    await client.edit(room, 1, 'other');
  } catch (error) {
    if (error instanceof Refused && error.code === 'rate_limited') console.log(error.retryAfter, error.field);
    if (error instanceof Disconnected) console.log(error.code === 'offline');
  }
  // @ts-expect-error a number of a message
  client.post(room, 'hello', { replyTo: 'one' });
  // @ts-expect-error no such event
  client.on('nothing', () => {});
  // @ts-expect-error a room, not a name
  await client.say('general', 'hello');
  // @ts-expect-error no such code
  if (new Disconnected('offline').code === 'gone') console.log();
  // @ts-expect-error a number of a message
  await client.delete(room, 'x');
}
