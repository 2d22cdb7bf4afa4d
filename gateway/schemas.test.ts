import assert from 'node:assert/strict';
import test from 'node:test';
import { schemaBody } from '../engine/domains/schema/schema-keeper.ts';
import { OneThreadNode } from './testing/one-thread-node.ts';

const TODO = { type: 'object', properties: { title: { type: 'string' } }, required: ['title'] };

function put(id: string, key: string, value: unknown): object {
  return { id, mapName: 'todos', key, record: { value, timestamp: { millis: Date.now(), counter: 0, nodeId: 'ann' } } };
}

test('a write that does not fit its map is refused by the name of the field; the rest of the batch is acknowledged', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  node.definitions.apply({ kind: 'schema', name: 'todos', version: 1, body: schemaBody('strict', TODO) });
  const writer = node.client();
  const reader = node.client();
  writer.heard();
  reader.heard();
  writer.write(put('1', 'a', { title: 'milk', later: true }), put('2', 'b', { title: 7 }), put('3', 'c', { title: 'bread' }));
  await node.pump();
  const answers = writer.heard();
  assert.deepEqual(answers[0], {
    type: 'OP_REJECTED',
    payload: {
      opId: '2',
      reason: "SCHEMA_VIOLATION: field 'title': Invalid input: expected string, received number",
      code: 422,
    },
  });
  const ack = answers.find(({ type }) => type === 'OP_ACK');
  assert.deepEqual(ack?.payload, {
    lastId: '3',
    achievedLevel: 'MEMORY',
    results: [
      {
        opId: '2',
        success: false,
        achievedLevel: 'FIRE_AND_FORGET',
        error: "SCHEMA_VIOLATION: field 'title': Invalid input: expected string, received number",
      },
    ],
  });
  const told = JSON.stringify(reader.heard());
  assert.match(told, /"milk","later":true|later/);
  assert.doesNotMatch(told, /"key":"b"/);
});

test('a schema that is removed holds no more', async () => {
  const node = await OneThreadNode.create();
  node.definitions.apply({ kind: 'schema', name: 'todos', version: 1, body: schemaBody('strict', TODO) });
  node.definitions.apply({ kind: 'schema', name: 'todos', version: 2, body: undefined });
  const writer = node.client();
  writer.heard();
  writer.write(put('1', 'a', 'anything'));
  await node.pump();
  assert.deepEqual(
    writer.heard().map(({ type }) => type),
    ['OP_ACK'],
  );
});
