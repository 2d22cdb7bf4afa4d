import assert from 'node:assert/strict';
import test from 'node:test';
import { CALL_NONE, FLAG_MORE, FLAG_PERSIST } from '../engine/protocol/envelope.ts';
import type { DurabilityOptions } from '../engine/protocol/ack-level.ts';
import { ackOf, acksIn, acksOf, batch, LOGGED, NOT_LOGGED, put, resultsOf } from './testing/asked-batches.ts';
import { PlayedNode } from './testing/played-node.ts';

test('a plain ack says what the configuration reaches, and carries no proof', async () => {
  const expected: [DurabilityOptions, string][] = [
    [{ ...LOGGED, store: 'none' }, 'MEMORY'],
    [NOT_LOGGED, 'MEMORY'],
    [LOGGED, 'APPLIED'],
    [{ ...LOGGED, walFsync: 'always' }, 'PERSISTED'],
    [{ ...LOGGED, store: 'write-through' }, 'PERSISTED'],
  ];
  for (const [config, achievedLevel] of expected) {
    const node = await PlayedNode.create({ config });
    const client = node.client();
    client.write(put(1, 'a'), put(3, 'b')); // the second batch comes behind a gap: its ops are named
    const first = node.callAt();
    client.write(put(4, 'c'));
    node.ack(0, 2, node.callAt());
    assert.deepEqual(ackOf(client), { lastId: '0', achievedLevel, results: [{ opId: '4', success: true, achievedLevel }] });
    node.ack(0, 3, first);
    assert.deepEqual(ackOf(client), { lastId: '4', achievedLevel });
  }
});

test('a batch that asks for MEMORY or APPLIED is answered by the acks, with the sequences that hold it as proof', async () => {
  for (const writeConcern of ['MEMORY', 'APPLIED']) {
    const node = await PlayedNode.create({ workers: 2, config: LOGGED });
    const client = node.client();
    node.workers[1]?.set('logSyncedSequence', 40);
    node.workers[1]?.set('logFlushedSequence', 30);
    client.say(batch({ writeConcern }, put(1, node.keyOf(0)), put(2, node.keyOf(1))));
    const [left] = node.received(0);
    const [right] = node.received(1);
    assert.deepEqual([left?.flags, right?.flags], [0, 0]);
    node.ack(1, 41, right?.callId ?? 0);
    assert.deepEqual(acksOf(client), []);
    node.ack(0, 7, left?.callId ?? 0);
    assert.deepEqual(ackOf(client), {
      lastId: '2',
      achievedLevel: 'APPLIED',
      results: ['1', '2'].map((opId) => ({ opId, success: true, achievedLevel: 'APPLIED' })),
      proof: [
        { worker: 0, wal: 7, synced: 0, postgres: 0 },
        { worker: 1, wal: 41, synced: 40, postgres: 30 },
      ],
    });
  }
});

test('levels that a node never reaches are refused by name, and the ops stay at the level that they reached', async () => {
  const never: [DurabilityOptions, string, string, RegExp][] = [
    [NOT_LOGGED, 'APPLIED', 'MEMORY', /^LEVEL_UNAVAILABLE: asked for APPLIED, .*write-ahead log.*reached MEMORY/],
    [{ ...LOGGED, store: 'none' }, 'APPLIED', 'MEMORY', /^LEVEL_UNAVAILABLE: .*write-ahead log/],
    [{ ...LOGGED, store: 'none' }, 'PERSISTED', 'MEMORY', /^LEVEL_UNAVAILABLE: asked for PERSISTED, .*stores nothing/],
    [LOGGED, 'REPLICATED', 'APPLIED', /^LEVEL_UNAVAILABLE: asked for REPLICATED, .*a single node has no replicas/],
    [{ ...LOGGED, walFsync: 'always' }, 'REPLICATED', 'PERSISTED', /single node/],
  ];
  for (const [config, writeConcern, achievedLevel, error] of never) {
    const node = await PlayedNode.create({ config });
    const client = node.client();
    client.say(batch({ writeConcern }, put(1, 'a'), put(2, 'b', { writeConcern: 'MEMORY' })));
    node.ack(0, 1, node.callAt());
    const ack = ackOf(client);
    assert.deepEqual(
      [ack.lastId, ack.achievedLevel, ...resultsOf(ack)],
      ['2', achievedLevel, ['1', false, achievedLevel, 'LEVEL_UNAVAILABLE'], ['2', true, achievedLevel]],
    );
    assert.match(ack.results?.[0]?.error ?? '', error);
  }
});

test('APPLIED is kept by what is persisted', async () => {
  const node = await PlayedNode.create({ config: { ...LOGGED, store: 'write-through' } });
  const client = node.client();
  client.say(batch({ writeConcern: 'APPLIED' }, put(1, 'a')));
  node.ackPersisted(0, 0, node.callAt());
  assert.deepEqual(resultsOf(ackOf(client)), [['1', true, 'PERSISTED']]);
});

test('where plain acks mean PERSISTED nobody is asked to hurry', async () => {
  for (const config of [
    { ...LOGGED, walFsync: 'always' },
    { ...LOGGED, store: 'write-through' },
  ] as const) {
    const node = await PlayedNode.create({ config });
    const client = node.client();
    client.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a')));
    const [record] = node.received();
    assert.equal(record?.flags, 0);
    node.ackPersisted(0, 3, record?.callId ?? 0);
    assert.deepEqual(resultsOf(ackOf(client)), [['1', true, 'PERSISTED']]);
  }
});

test('the level of an op is its own, else that of its batch; one that asks for PERSISTED makes the batch wait', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  const concerns = ['FIRE_AND_FORGET', 'MEMORY', undefined, 'REPLICATED', 'PERSISTED'];
  const ops = concerns.map((writeConcern, at) => put(at + 1, `k${at}`, writeConcern === undefined ? {} : { writeConcern }));
  client.say(batch({ writeConcern: 'APPLIED' }, ...ops));
  node.ack(0, 3, node.callAt());
  assert.deepEqual(acksOf(client), []);
  node.persisted(0, 3);
  assert.deepEqual(resultsOf(ackOf(client)), [
    ['1', true, 'PERSISTED'],
    ['2', true, 'PERSISTED'],
    ['3', true, 'PERSISTED'],
    ['4', false, 'PERSISTED', 'LEVEL_UNAVAILABLE'],
    ['5', true, 'PERSISTED'],
  ]);
});

test('a single operation may name a level too', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  client.say({ type: 'CLIENT_OP', payload: put(1, 'a', { writeConcern: 'PERSISTED', timeout: 70 }) });
  const [record] = node.received();
  assert.equal(record?.flags, FLAG_PERSIST);
  node.ack(0, 3, record?.callId ?? 0);
  node.pass(71);
  assert.deepEqual(resultsOf(ackOf(client)), [['1', false, 'APPLIED', 'LEVEL_TIMEOUT']]);
});

test('rejected ops of a batch that waits are told apart from those that are persisted', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a'), put(2, 'k'.repeat(2100)), put(3, 'c')));
  node.reject(0, 5, node.callAt(), 'STALE_OPERATION', 2);
  node.persisted(0, 5);
  const messages = client.heard();
  const rejected = messages.filter(({ type }) => type === 'OP_REJECTED').map(({ payload }) => (payload as { opId: string }).opId);
  const [ack] = acksIn(messages);
  assert.ok(ack !== undefined);
  assert.deepEqual(rejected, ['2', '3']);
  assert.deepEqual(
    [ack.achievedLevel, ...resultsOf(ack)],
    [
      'PERSISTED',
      ['1', true, 'PERSISTED'],
      ['2', false, 'FIRE_AND_FORGET', 'KEY_TOO_LARGE'],
      ['3', false, 'FIRE_AND_FORGET', 'STALE_OPERATION'],
    ],
  );
});

test('a batch of nothing but FIRE_AND_FORGET is acknowledged before any worker has seen it', async () => {
  const node = await PlayedNode.create({ workers: 2, config: LOGGED });
  const client = node.client();
  const forget = { writeConcern: 'FIRE_AND_FORGET' };
  client.say(batch(forget, put(1, node.keyOf(0)), put(2, node.keyOf(1)), put(3, 'k'.repeat(2100))));
  const messages = client.heard();
  const [ack] = acksIn(messages);
  assert.ok(ack !== undefined);
  assert.deepEqual(
    [ack.lastId, ack.achievedLevel, ack.proof, client.session.openCalls, ...resultsOf(ack)],
    [
      '3',
      'FIRE_AND_FORGET',
      undefined,
      0,
      ['1', true, 'FIRE_AND_FORGET'],
      ['2', true, 'FIRE_AND_FORGET'],
      ['3', false, 'FIRE_AND_FORGET', 'KEY_TOO_LARGE'],
    ],
  );
  for (const worker of [0, 1]) {
    assert.deepEqual(node.received(worker), [{ callId: CALL_NONE, session: client.session.id, flags: 0, ops: 1 }]);
  }
  node.ack(0, 1, CALL_NONE);
  node.refuse(1, CALL_NONE, 'DISK_FULL');
  assert.deepEqual([acksOf(client), client.closes], [[], []]);
});

test('answers to batches that were forgotten reach no later call, however many there were', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  const forgotten = batch({ writeConcern: 'FIRE_AND_FORGET' }, put(1, 'a'));
  let late: number[] = [];
  for (let time = 0; time < 5000; time++) {
    client.say(forgotten); // each claims and frees the same slot
    if (time % 500 === 0) late = [...late, ...node.received().map(({ callId }) => callId)];
  }
  late = [...late, ...node.received().map(({ callId }) => callId)];
  assert.equal(late.length, 5000);
  client.heard();
  client.write(put(2, 'b'));
  for (const callId of new Set(late)) node.ack(0, 1, callId);
  assert.deepEqual(acksOf(client), []);
  node.ack(0, 2, node.callAt());
  assert.equal(ackOf(client).lastId, '2');
});

test('one op that asks for more makes the batch wait for its worker, and nothing is forgotten', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'FIRE_AND_FORGET' }, put(1, 'a'), put(2, 'b', { writeConcern: 'MEMORY' })));
  const callId = node.callAt();
  assert.notEqual(callId, CALL_NONE);
  assert.deepEqual(acksOf(client), []);
  node.ack(0, 1, callId);
  assert.deepEqual(resultsOf(ackOf(client)), [
    ['1', true, 'APPLIED'],
    ['2', true, 'APPLIED'],
  ]);
});

test('every part of a large batch says that somebody waits', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  const ops = [1, 2, 3, 4].map((id) => ({
    ...put(id, `k${id}`),
    record: { value: 'x'.repeat(50_000), timestamp: { millis: 1, counter: id, nodeId: 'n' } },
  }));
  client.say(batch({ writeConcern: 'PERSISTED' }, ...ops));
  const records = node.received();
  assert.deepEqual(
    records.map(({ flags }) => flags),
    [...records.slice(1).map(() => FLAG_PERSIST | FLAG_MORE), FLAG_PERSIST],
  );
  assert.ok(records.length > 1);
  node.ack(0, 4, records[0]?.callId ?? 0);
  node.persisted(0, 4);
  assert.equal(ackOf(client).lastId, '4');
});

test('a batch without ops, or of ops that store nothing, has what it asks for', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'PERSISTED' }));
  client.say(batch({ writeConcern: 'PERSISTED' }, { id: '1', mapName: 'todos', key: 'a', opType: 'PUT' }));
  const acks = acksOf(client);
  assert.deepEqual(
    acks.map((ack) => [ack.lastId, ack.proof, resultsOf(ack)]),
    [
      ['0', [], []],
      ['1', [], [['1', true, 'PERSISTED']]],
    ],
  );
});
