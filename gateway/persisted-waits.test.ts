import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FLAG_PERSIST } from '../engine/protocol/envelope.ts';
import type { Proof } from './asked-levels.ts';
import { ackOf, acksOf, batch, errorsOf, LOGGED, NOT_LOGGED, put, resultsOf, type Asks } from './testing/asked-batches.ts';
import type { TestClient } from './testing/one-thread-node.ts';
import { PlayedNode } from './testing/played-node.ts';

test('PERSISTED is answered when every worker of the batch has persisted its part, in whatever order', async () => {
  const node = await PlayedNode.create({ workers: 3, config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'PERSISTED' }, put(1, node.keyOf(0)), put(2, node.keyOf(2))));
  const [left] = node.received(0);
  const [right] = node.received(2);
  assert.deepEqual([left?.flags, right?.flags, node.received(1)], [FLAG_PERSIST, FLAG_PERSIST, []]);
  node.ack(0, 10, left?.callId ?? 0);
  node.persisted(0, 9);
  node.persisted(0, 12);
  node.ack(2, 5, right?.callId ?? 0);
  node.persisted(1, 99);
  node.persisted(2, 4);
  assert.deepEqual(acksOf(client), []);
  node.workers[2]?.set('logSyncedSequence', 3); // published before the last sync
  node.workers[2]?.set('logFlushedSequence', 2);
  node.persisted(2, 5);
  assert.deepEqual(ackOf(client), {
    lastId: '2',
    achievedLevel: 'PERSISTED',
    results: ['1', '2'].map((opId) => ({ opId, success: true, achievedLevel: 'PERSISTED' })),
    proof: [
      { worker: 0, wal: 10, synced: 12, postgres: 0 },
      { worker: 2, wal: 5, synced: 5, postgres: 2 },
    ],
  });
  assert.equal(client.session.openCalls, 0);
});

test('a worker that answers again, having been replaced, counts once', async () => {
  const node = await PlayedNode.create({ workers: 2, config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'APPLIED' }, put(1, node.keyOf(0)), put(2, node.keyOf(1))));
  const [first, second] = [node.callAt(0), node.callAt(1)];
  node.ack(0, 5, first);
  node.ack(0, 6, first);
  node.ack(1, 3, second);
  assert.deepEqual(ackOf(client).proof, [
    { worker: 0, wal: 5, synced: 0, postgres: 0 },
    { worker: 1, wal: 3, synced: 0, postgres: 0 },
  ]);
});

test('PERSISTED needs no wait where the ack says that it is persisted, or its sequence is known to be', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a')));
  node.ackPersisted(0, 8, node.callAt());
  assert.deepEqual(ackOf(client).proof, [{ worker: 0, wal: 8, synced: 8, postgres: 0 }]);
  client.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a'))); // sent again: changes nothing, so no new sequence
  node.ack(0, 8, node.callAt());
  assert.deepEqual(resultsOf(ackOf(client)), [['1', true, 'PERSISTED']]);
});

test('without a log PERSISTED means committed in Postgres', async () => {
  const node = await PlayedNode.create({ config: NOT_LOGGED });
  const client = node.client();
  client.say(batch({}, put(1, 'a', { writeConcern: 'PERSISTED' }), put(2, 'b')));
  const [record] = node.received();
  assert.equal(record?.flags, FLAG_PERSIST);
  node.ack(0, 20, record?.callId ?? 0);
  node.persisted(0, 20);
  const ack = ackOf(client);
  assert.deepEqual(
    [ack.achievedLevel, ack.proof, ...resultsOf(ack)],
    ['PERSISTED', [{ worker: 0, wal: 20, synced: 20, postgres: 20 }], ['1', true, 'PERSISTED']],
  );
});

test('at its timeout a batch that is applied is answered: who asked for PERSISTED failed, the others did not', async () => {
  for (const [config, level] of [
    [LOGGED, 'APPLIED'],
    [NOT_LOGGED, 'MEMORY'],
  ] as const) {
    const node = await PlayedNode.create({ config });
    const client = node.client();
    client.say(
      batch({ timeout: 250 }, put(1, 'a', { writeConcern: 'MEMORY' }), put(2, 'b', { writeConcern: 'PERSISTED' }), put(3, 'c')),
    );
    node.ack(0, 3, node.callAt());
    node.persisted(0, 2);
    node.pass(250);
    assert.deepEqual(acksOf(client), []);
    node.pass(1);
    const ack = ackOf(client);
    assert.deepEqual(
      [ack.lastId, ack.achievedLevel, ...resultsOf(ack)],
      ['3', level, ['1', true, level], ['2', false, level, 'LEVEL_TIMEOUT']],
    );
    assert.match(ack.results?.[1]?.error ?? '', new RegExp(`reached ${level}`));
    node.persisted(0, 3); // too late
    node.pass(60_000);
    assert.deepEqual([acksOf(client), client.session.openCalls, node.counters.levelTimeouts], [[], 0, 1]);
  }
});

test('an op waits as long as it says, else as its batch says, else as usual, and none longer than a request may take', async () => {
  const waits = async (asks: Asks, ...ops: object[]): Promise<number> => {
    const node = await PlayedNode.create({ config: { ...LOGGED, opTimeoutMs: 5000, requestTimeoutMs: 30_000 } });
    const client = node.client();
    client.say(batch(asks, ...ops));
    node.ack(0, 3, node.callAt());
    for (let passed = 0; passed < 40_000; passed += 100) {
      if (acksOf(client).length > 0) return passed;
      node.pass(100);
    }
    return -1;
  };
  const persisted = { writeConcern: 'PERSISTED' };
  assert.equal(await waits(persisted, put(1, 'a')), 5100);
  assert.equal(await waits({ ...persisted, timeout: 300 }, put(1, 'a')), 400);
  assert.equal(await waits({ ...persisted, timeout: 300 }, put(1, 'a', { timeout: 900 })), 1000);
  assert.equal(await waits(persisted, put(1, 'a', { timeout: 7000 }), put(2, 'b', { timeout: 600 })), 700);
  assert.equal(await waits({}, put(1, 'a', { ...persisted, timeout: 600 }), put(2, 'b', { timeout: 200 })), 700);
  assert.equal(await waits({ ...persisted, timeout: 86_400_000 }, put(1, 'a')), 30_100);
});

test('an op whose time is up is told by itself, with the proof; the others go on waiting, each for its own time', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  const persisted = { writeConcern: 'PERSISTED' };
  client.say(
    batch(
      {},
      put(1, 'a', { ...persisted, timeout: 100 }),
      put(2, 'b', { ...persisted, timeout: 400 }),
      put(3, 'c'),
      put(4, 'd', persisted),
    ),
  );
  node.ack(0, 3, node.callAt());
  node.pass(101);
  const early = ackOf(client);
  assert.deepEqual(
    [early.lastId, early.achievedLevel, early.proof, ...resultsOf(early)],
    ['0', 'APPLIED', [{ worker: 0, wal: 3, synced: 0, postgres: 0 }], ['1', false, 'APPLIED', 'LEVEL_TIMEOUT']],
  );
  node.pass(200);
  assert.deepEqual(acksOf(client), [], 'it is told once');
  node.pass(100);
  assert.deepEqual(resultsOf(ackOf(client)), [['2', false, 'APPLIED', 'LEVEL_TIMEOUT']]);
  node.persisted(0, 3);
  const last = ackOf(client);
  assert.deepEqual([last.lastId, last.achievedLevel, ...resultsOf(last)], ['4', 'PERSISTED', ['4', true, 'PERSISTED']]);
  assert.deepEqual([client.session.openCalls, node.counters.levelTimeouts], [0, 2]);
});

test('at its time an op has reached what its own worker has, whatever the others have not', async () => {
  const node = await PlayedNode.create({ workers: 2, config: LOGGED });
  const client = node.client();
  const soon = { writeConcern: 'PERSISTED', timeout: 100 };
  const late = { writeConcern: 'PERSISTED', timeout: 900 };
  client.say(batch({}, put(1, node.keyOf(0), soon), put(2, node.keyOf(1), soon), put(3, node.keyOf(1), late)));
  node.ack(0, 5, node.callAt(0));
  node.ack(1, 7, node.callAt(1));
  node.persisted(0, 5);
  node.pass(101);
  const early = ackOf(client);
  assert.deepEqual(
    [early.achievedLevel, ...resultsOf(early)],
    ['APPLIED', ['1', true, 'PERSISTED'], ['2', false, 'APPLIED', 'LEVEL_TIMEOUT']],
  );
  node.pass(800);
  const last = ackOf(client);
  assert.deepEqual([last.lastId, ...resultsOf(last)], ['3', ['3', false, 'APPLIED', 'LEVEL_TIMEOUT']]);
  assert.equal(client.session.openCalls, 0);
});

test('a worker that is replaced after an op was told at its time makes the batch come again', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a', { timeout: 100 }), put(2, 'b')));
  node.ack(0, 3, node.callAt());
  node.pass(101);
  assert.equal(ackOf(client).lastId, '0');
  node.gateway.workerReplaced(0);
  node.pass(0);
  assert.deepEqual([errorsOf(client).map(({ code }) => code), client.closes.map(({ code }) => code)], [[503], [1013]]);
});

test('a worker that has not applied its part by the deadline ends the connection, whatever was asked for', async () => {
  const node = await PlayedNode.create({ workers: 2, config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'PERSISTED', timeout: 100 }, put(1, node.keyOf(0)), put(2, node.keyOf(1))));
  node.ack(0, 3, node.callAt(0));
  node.pass(5000); // beyond the timeout of the level, which is about what is applied
  assert.deepEqual([acksOf(client), client.closes], [[], []]);
  node.pass(600);
  assert.deepEqual([errorsOf(client).map(({ code }) => code), client.closes.map(({ code }) => code)], [[504], [1013]]);
  node.persisted(0, 3);
});

test('a batch whose worker applies it after the timeout of its level is answered then', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'PERSISTED', timeout: 100 }, put(1, 'a')));
  const callId = node.callAt();
  node.pass(2000);
  node.ack(0, 3, callId);
  node.pass(1);
  assert.deepEqual(resultsOf(ackOf(client)), [['1', false, 'APPLIED', 'LEVEL_TIMEOUT']]);
});

test('a worker that will never persist what is above a sequence says so at once to all who wait there', async () => {
  const node = await PlayedNode.create({ workers: 2, config: LOGGED });
  const [below, above, both] = [node.client(), node.client(), node.client()];
  const persist = (client: TestClient, ...keys: string[]): void =>
    client.say(batch({ writeConcern: 'PERSISTED' }, ...keys.map((key, at) => put(at + 1, key))));
  persist(below, node.keyOf(0));
  node.ack(0, 5, node.callAt());
  persist(above, node.keyOf(0));
  node.ack(0, 6, node.callAt());
  persist(both, node.keyOf(0), node.keyOf(1));
  node.ack(0, 7, node.callAt(0));
  node.persisted(0, 5, 'READ_ONLY');
  assert.deepEqual(resultsOf(ackOf(below)), [['1', true, 'PERSISTED']]);
  assert.deepEqual(resultsOf(ackOf(above)), [['1', false, 'APPLIED', 'READ_ONLY']]);
  assert.deepEqual(acksOf(both), []); // its other worker has not applied its part
  node.ack(1, 3, node.callAt(1));
  assert.deepEqual(resultsOf(ackOf(both)), [
    ['1', false, 'APPLIED', 'READ_ONLY'],
    ['2', false, 'APPLIED', 'READ_ONLY'],
  ]);
  assert.deepEqual(
    [below, above, both].map(({ session }) => session.openCalls),
    [0, 0, 0],
  );
});

test('who waits for a worker that is replaced is not answered: what it wrote may be gone, so it must come again', async () => {
  for (const replace of [
    (node: PlayedNode) => node.gateway.workerReplaced(0),
    (node: PlayedNode) => node.persisted(0, 0, 'UNAVAILABLE'),
  ]) {
    const node = await PlayedNode.create({ config: NOT_LOGGED });
    const [waits, plain] = [node.client(), node.client()];
    waits.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a')));
    node.ack(0, 500, node.callAt());
    node.persisted(0, 400);
    plain.write(put(1, 'b'));
    const other = node.callAt();
    replace(node);
    node.pass(0);
    assert.deepEqual(
      errorsOf(waits).map(({ code, message }) => [code, message.startsWith('UNAVAILABLE: ')]),
      [[503, true]],
    );
    assert.deepEqual([waits.closes.map(({ code }) => code), waits.session.openCalls], [[1013], 0]);
    node.ack(0, 1, other);
    assert.equal(ackOf(plain).lastId, '1');
    const again = node.client(); // sequences begin anew: those of the former worker say nothing
    again.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a')));
    node.ack(0, 2, node.callAt());
    node.persisted(0, 1);
    assert.deepEqual(acksOf(again), []);
    node.persisted(0, 2);
    assert.deepEqual(resultsOf(ackOf(again)), [['1', true, 'PERSISTED']]);
  }
});

test('a session that leaves while it waits takes its place in no other batch', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const [gone, stays] = [node.client(), node.client()];
  gone.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a')));
  node.ack(0, 5, node.callAt());
  gone.leave();
  stays.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'b'))); // in the slot of the one that left
  node.ack(0, 6, node.callAt());
  node.persisted(0, 5); // what the one that left waited for
  node.pass(100);
  assert.deepEqual(acksOf(stays), []);
  node.persisted(0, 6);
  assert.deepEqual(resultsOf(ackOf(stays)), [['1', true, 'PERSISTED']]);
});

test('acks of a connection go on while an older batch waits, op by op, and are covered when it is persisted', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  client.say(batch({ writeConcern: 'PERSISTED' }, put(1, 'a'), put(2, 'b')));
  node.ack(0, 5, node.callAt());
  client.write(put(3, 'c'));
  node.ack(0, 6, node.callAt());
  const early = ackOf(client);
  assert.deepEqual([early.lastId, early.achievedLevel, ...resultsOf(early)], ['0', 'APPLIED', ['3', true, 'APPLIED']]);
  node.persisted(0, 5);
  assert.equal(ackOf(client).lastId, '3');
});

test('a batch that finds no room asks for the same again when there is some', async () => {
  const node = await PlayedNode.create({ config: LOGGED });
  const client = node.client();
  node.state.setWorkerState(0, 'loading');
  client.say(batch({ writeConcern: 'PERSISTED', timeout: 1000 }, put(1, 'a')));
  node.pass(900);
  node.state.setWorkerState(0, 'ready');
  node.pass(0);
  const [record] = node.received();
  assert.equal(record?.flags, FLAG_PERSIST);
  node.ack(0, 1, record?.callId ?? 0);
  node.pass(900);
  node.persisted(0, 1);
  assert.deepEqual(resultsOf(ackOf(client)), [['1', true, 'PERSISTED']]);
});

test('whatever comes in whatever order, PERSISTED is said exactly of what is persisted, once, and nothing waits for ever', async () => {
  const workers = 3;
  const step = fc.oneof(
    fc.record({ does: fc.constant('write'), on: fc.subarray([0, 1, 2], { minLength: 1 }) }),
    fc.record({ does: fc.constant('ack'), which: fc.nat(9) }),
    fc.record({ does: fc.constant('persist'), worker: fc.nat(workers - 1), ahead: fc.integer({ min: -2, max: 0 }) }),
    fc.record({ does: fc.constant('never'), worker: fc.nat(workers - 1) }),
    fc.record({ does: fc.constant('leave') }),
    fc.record({ does: fc.constant('pass'), ms: fc.integer({ min: 1, max: 300 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const node = await PlayedNode.create({ workers, config: LOGGED });
      const sequences = [0, 0, 0];
      const persisted = [0, 0, 0];
      const failed = new Set<number>();
      const unacked: { worker: number; callId: number }[] = [];
      const workerOf = new Map<string, number>(); // of each op, by its id
      let client = node.client();
      let [id, asked, answered] = [0, 0, 0];
      const ack = (index: number): void => {
        const [call] = unacked.splice(index, 1);
        if (call === undefined) return;
        sequences[call.worker] = (sequences[call.worker] ?? 0) + 1;
        node.ack(call.worker, sequences[call.worker] ?? 0, call.callId);
      };
      const look = (): void => {
        for (const { achievedLevel, results, proof } of acksOf(client)) {
          answered += 1;
          const safe = (proof as Proof[]).filter(({ worker, wal }) => wal <= (persisted[worker] ?? 0));
          assert.equal(achievedLevel, safe.length === (proof as Proof[]).length ? 'PERSISTED' : 'APPLIED');
          assert.ok(results?.every(({ opId, success }) => success === safe.some(({ worker }) => worker === workerOf.get(opId))));
          assert.ok(safe.every(({ wal, synced }) => synced >= wal));
        }
      };
      for (const next of steps) {
        if ('on' in next) {
          client.say(
            batch({ writeConcern: 'PERSISTED', timeout: 1000 }, ...next.on.map((worker) => put(++id, node.keyOf(worker)))),
          );
          asked += 1;
          next.on.forEach((worker, at) => {
            unacked.push({ worker, callId: node.callAt(worker) });
            workerOf.set(String(id - next.on.length + 1 + at), worker);
          });
        } else if ('which' in next) ack(next.which % Math.max(1, unacked.length));
        else if ('ahead' in next) {
          if (failed.has(next.worker)) continue;
          const to = (sequences[next.worker] ?? 0) + next.ahead;
          persisted[next.worker] = Math.max(persisted[next.worker] ?? 0, to);
          node.persisted(next.worker, Math.max(0, to));
        } else if ('worker' in next) {
          failed.add(next.worker);
          node.persisted(next.worker, persisted[next.worker] ?? 0, 'READ_ONLY');
        } else if ('ms' in next) node.pass(next.ms);
        else {
          client.leave();
          client = node.client();
          [id, asked, answered] = [0, 0, 0];
        }
        look();
        assert.equal(asked - answered, client.session.openCalls);
        if (client.closes.length > 0) return; // not applied by the deadline of the call
      }
      while (unacked.length > 0) ack(0);
      node.pass(1001);
      look();
      assert.deepEqual([answered, client.session.openCalls], [asked, 0]);
    }),
    { numRuns: 150 },
  );
});
