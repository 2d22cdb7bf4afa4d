import assert from 'node:assert/strict';
import test from 'node:test';
import type { ErrorCode } from '../engine/protocol/errors.ts';
import { batch, errorsOf, LOGGED, put } from './testing/asked-batches.ts';
import { PlayedNode } from './testing/played-node.ts';

test('each refusal of a worker is told with its code, what it means and whether a retry helps, and the client must come again', async () => {
  const refusals: [ErrorCode, number, RegExp][] = [
    ['OVERLOADED', 429, /^OVERLOADED: .*again/],
    ['READ_ONLY', 503, /^READ_ONLY: .*restarted/],
    ['DISK_FULL', 507, /^DISK_FULL: .*room/],
    ['LOG_FULL', 507, /^LOG_FULL: .*Postgres/],
    ['LOG_DAMAGED', 503, /^LOG_DAMAGED: .*wal repair/],
    ['OUT_OF_MEMORY', 507, /^OUT_OF_MEMORY: .*memory/],
    ['STORAGE_UNAVAILABLE', 503, /^STORAGE_UNAVAILABLE: .*Postgres/],
    ['INTERNAL', 500, /^INTERNAL: .*again/],
  ];
  for (const [code, status, message] of refusals) {
    const node = await PlayedNode.create({ workers: 2, config: LOGGED });
    const [client, reader] = [node.client(), node.client()];
    client.say(batch({ writeConcern: 'PERSISTED' }, put(1, node.keyOf(0)), put(2, node.keyOf(1))));
    const [first, second] = [node.callAt(0), node.callAt(1)];
    node.ack(1, 9, second);
    node.refuse(0, first, code);
    node.persisted(1, 9);
    const heard = client.heard();
    assert.deepEqual(
      heard.map(({ type }) => type),
      ['ERROR'],
    );
    const told = heard[0]?.payload as { code: number; message: string } | undefined;
    assert.equal(told?.code, status);
    assert.match(told?.message ?? '', message);
    assert.deepEqual([client.closes.map((close) => close.code), reader.closes], [[1013], []]);
    assert.ok(Buffer.byteLength(client.closes[0]?.reason ?? '') <= 123); // of a close frame
    const { overloaded, writesRefused } = node.counters;
    assert.deepEqual([overloaded, writesRefused], code === 'OVERLOADED' ? [1, 0] : [0, 1]);
  }
});

test('a session with several refused batches is told once', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  for (const id of [1, 2, 3]) client.write(put(id, 'a'));
  const calls = node.received().map(({ callId }) => callId);
  for (const callId of calls) node.refuse(0, callId, 'READ_ONLY');
  assert.deepEqual([errorsOf(client).length, client.closes.length], [1, 1]);
});
