// What a program of a team writes against the generated types. Each `@ts-expect-error` is a mistake that they find.

import type { components, operations, paths } from './generated.js';

type Body<Operation extends keyof operations> = operations[Operation] extends
  { requestBody: { content: { 'application/json': infer Content } } } ? Content : never;
type Answer<Operation extends keyof operations, Status extends number> = operations[Operation] extends
  { responses: { [S in Status]: { content: { 'application/json': infer Content } } } } ? Content : never;

export const post: Body<'post'> = { user: 'Robot', text: 'hello', key: 'k1' };
// @ts-expect-error a post has a text
export const noText: Body<'post'> = { user: 'Robot' };
export const ban: Body<'setBan'> = { seconds: 600, reason: 'spam' };
// @ts-expect-error seconds are a number
export const wrongBan: Body<'setBan'> = { seconds: 'ten' };
export const direct: Body<'direct'> = { user: 'Robot', to: 'Ada', text: 'for you' };

export function newest(history: Answer<'history', 200>): string | undefined {
  const message: components['schemas']['Message'] | undefined = history.messages.at(-1);
  return message?.text;
}

export function* clients(page: Answer<'connections', 200>): Generator<string> {
  for (const { client, user, rooms } of page.connections) yield `${client} ${user ?? '-'} ${rooms.join()}`;
}

// @ts-expect-error a figure is a number
export const posts: string = ({} as Answer<'stats', 200>).posts;
export const scope: components['schemas']['Problem']['scope'] = 'moderate';
export const reaction: keyof paths = '/rooms/{room}/messages/{seq}/reactions/{emoji}/{user}';
// @ts-expect-error there is no such path
export const nowhere: keyof paths = '/nowhere';

// A backend that is asked and told.
type Schemas = components['schemas'];
export function answer(question: Schemas['HookQuestion']): Schemas['HookAnswer'] {
  if (question.ask === 'post') return { allow: !question.text.includes('spam'), reason: 'no spam' };
  return { allow: true };
}
export const seen = (events: Schemas['HookEvents']): number[] => events.flatMap((event) => (event.event === 'posted' ? [event.seq] : []));
// @ts-expect-error an answer says whether
export const neither: Schemas['HookAnswer'] = { reason: 'no' };
