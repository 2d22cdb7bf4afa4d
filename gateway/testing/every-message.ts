/** Messages of every type of the protocol, for tests of what nobody must be able to send. */
import { MESSAGE_TYPES } from '../../engine/protocol/message-types.ts';
import type { Message } from './client-codec.ts';

export const EVERY_TYPE: readonly string[] = Object.values(MESSAGE_TYPES).flatMap((types) => Object.keys(types));

/** Fields that some message needs, all in one. */
const FIELDS = {
  mapName: 'before',
  path: '',
  cursor: 1,
  keys: ['k'],
  entries: [{ key: 'k', records: [], tombstones: ['1:0:a'] }],
  requestId: 'r',
  queryId: 'q',
  subscriptionId: 's',
  topic: 'before',
  data: 1,
  name: 'before',
  ttl: 1000,
  fencingToken: 1,
  state: { p: { a: 1 }, n: {} },
  query: {},
  ops: [{ id: '1', mapName: 'before', key: 'k', record: { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'a' } } }],
};

/** With fields enough to be acted on. */
export function samplesOf(type: string): Message[] {
  return [
    { type, ...FIELDS },
    { type, payload: FIELDS },
    { type, payload: FIELDS.ops[0] },
  ];
}
