/**
 * Nothing before authentication: of every type of message that there is, golden or made up, nothing gets past the first door.
 *
 * A new message type is in this test as soon as it is in the table of types.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MESSAGE_TYPES } from '../engine/protocol/message-types.ts';
import { packageFolder } from '../workers/package-folder.ts';
import { OneThreadNode } from './testing/one-thread-node.ts';

const FIXTURES = join(packageFolder(), 'engine', 'protocol', 'fixtures');
const TYPES = Object.values(MESSAGE_TYPES).flatMap((types) => Object.keys(types));

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

function framesOf(type: string): object[] {
  const golden = join(FIXTURES, `${type}.json`);
  const made = [
    { type, ...FIELDS },
    { type, payload: FIELDS },
    { type, payload: FIELDS.ops[0] },
  ];
  return existsSync(golden) ? [...made, JSON.parse(readFileSync(golden, 'utf8'))] : made;
}

for (const type of TYPES) {
  if (type === 'AUTH') continue; // the one that is acted on
  test(`${type} before authentication reaches no worker and gets no answer`, async () => {
    const node = await OneThreadNode.create({ jwtSecret: 'a secret of at least thirty-two bytes' });
    const client = node.client();
    assert.deepEqual(
      client.heard().map((message) => message.type),
      ['AUTH_REQUIRED'],
    );
    for (const frame of framesOf(type)) client.say(frame);
    assert.equal(await node.drainWorker(0), 0, 'nothing is in the ring of the worker');
    await node.pump();
    assert.deepEqual(client.heard(), []);
    assert.equal(client.session.state, 'unauthenticated');
    client.leave();
    assert.equal(await node.drainWorker(0), 0, 'nor is its end told');
  });
}
