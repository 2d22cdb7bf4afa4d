/** Records under a memory bound, as clients see them: whatever was dropped from memory, every answer is right or an error. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { foldRoot } from '../../crdt/merkle-tree.ts';
import { LwwMap } from '../../crdt/model.ts';
import { GridError } from '../../protocol/errors.ts';
import { errorNumber } from '../../protocol/errors.ts';
import { KIND_LWW, RecordImage } from '../../storage/record.ts';
import { JOIN_APPLIED, JOIN_DUPLICATE, JOIN_EVICTED, JOIN_STALE } from '../../storage/record-store.ts';
import { imageOf, recordOf } from '../../storage/stored-record.ts';
import { Rejections } from '../crdt/rejections.ts';
import { BoundedEngine, MIB, textOf, packedText } from '../testing/bounded-engine.ts';
import { scannedOps, utf8 } from '../testing/scanned-ops.ts';

const KEYS = 48;

type Step =
  | { type: 'write'; key: number; length: number; millis: number; ttlMs: number | undefined }
  | { type: 'remove'; key: number; millis: number }
  | { type: 'flush' }
  | { type: 'evict'; all: boolean }
  | { type: 'pass'; ms: number }
  | { type: 'read' }
  | { type: 'away' };

const key = fc.nat(KEYS - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      type: fc.constant('write' as const),
      key,
      length: fc.oneof(fc.nat(100), fc.integer({ min: 1_000, max: 60_000 })),
      millis: fc.integer({ min: 900_000, max: 1_100_000 }),
      ttlMs: fc.option(fc.integer({ min: 1, max: 40_000 }), { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('remove' as const), key, millis: fc.integer({ min: 900_000, max: 1_100_000 }) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('flush' as const) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('evict' as const), all: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.nat(30_000) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('read' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('away' as const) }) },
);

describe('records under a memory bound', () => {
  test('every answer is what a map without a bound would give, and the bound is kept', async () => {
    const all = { evicted: 0, loaded: 0, expired: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 20, maxLength: 120 }),
        fc.constantFrom('lru' as const, 'lfu' as const),
        async (steps, policy) => {
          const engine = new BoundedEngine({ policy });
          const model = new LwwMap();
          for (let key = 0; key < 30; key++) {
            await apply(engine, model, { type: 'write', key, length: 30_000 + key, millis: 850_000, ttlMs: undefined });
            if (key % 4 === 3) await apply(engine, model, { type: 'flush' });
          }
          for (const step of steps) await apply(engine, model, step);
          await engine.flush();
          await assertEqual(engine, model);
          all.evicted += engine.eviction.evicted;
          all.loaded += engine.loader.loaded;
          all.expired += engine.expiry.expired;
        },
      ),
      { numRuns: 60, includeErrorInReport: true },
    );
    for (const [what, count] of Object.entries(all)) assert.ok(count > 0, `nothing was ${what}: the property proves nothing`);
  });

  test('a sync of more than memory holds streams through it', async () => {
    const engine = new BoundedEngine();
    for (let number = 0; number < 300; number++) {
      while (!engine.write({ key: `k${number}`, value: packedText(20_000, number), millis: number + 1 })) await engine.makeRoom();
    }
    await engine.flush();
    const values = await engine.read();
    assert.equal(values.size, 300);
    for (let number = 0; number < 300; number++) assert.equal(values.get(`k${number}`), textOf(20_000, number));
    assert.ok(engine.slab.reservedBytes <= MIB);
    assert.equal(engine.slab.overruns, 0);
  });

  test('what a walk is told of a map is its whole size, dropped or not', async () => {
    const engine = new BoundedEngine();
    for (let number = 0; number < 10; number++) engine.write({ key: `k${number}`, value: packedText(20_000, number) });
    await engine.flush();
    const before = new Uint32Array(engine.sync.leaves(utf8('map'), KIND_LWW, '').slice().buffer);
    engine.dropAll();
    const after = new Uint32Array(engine.sync.leaves(utf8('map'), KIND_LWW, '').slice().buffer);
    assert.equal(engine.store().evicted, 10);
    assert.ok((after[1] as number) >= 200_000);
    assert.deepEqual([after[0], ...after.slice(2)], [before[0], ...before.slice(2)]);
  });
});

describe('a write that comes again', () => {
  test('is told from another one by length and hash, though the value is gone', async () => {
    const engine = new BoundedEngine();
    const write = recordOf({ key: 'k', value: packedText(1000, 1), millis: 5 });
    await writeAndDrop(engine, write);
    const store = engine.store();
    const join = (fields: object): number => store.join(imageOf(recordOf({ ...write, ...fields })), 0);
    assert.equal(join({}), JOIN_DUPLICATE);
    assert.equal(join({ value: packedText(1000, 2) }), JOIN_EVICTED);
    assert.equal(join({ value: packedText(999, 1) }), JOIN_EVICTED);
    assert.equal(join({ tombstone: true, value: '' }), JOIN_STALE);
    assert.equal(join({ value: packedText(1000, 2), millis: 4 }), JOIN_STALE);
    assert.equal(store.evicted, 1);
    assert.equal(join({ value: packedText(1000, 2), millis: 6 }), JOIN_APPLIED);
    assert.deepEqual([store.evicted, store.evictedBytes], [0, 0]);
  });

  test('with the clock of a dropped value and another value is refused, and judged once the value is back', async () => {
    const engine = new BoundedEngine();
    const timestamp = { millis: 5, counter: 0, nodeId: 'n' };
    const apply = (value: string): [number[], boolean] => {
      const { memory, count } = scannedOps(
        [{ mapName: 'map', key: 'k', opType: 'PUT', record: { value, timestamp } }],
        new Map(),
      );
      const rejections = new Rejections();
      engine.crdt.applyOps(memory, 0, count, 0, 7, 10, rejections);
      return [[...rejections.pairs], rejections.mustComeAgain];
    };
    apply(textOf(1000, 5));
    await engine.flush();
    engine.dropAll();
    assert.deepEqual(apply(textOf(1000, 7)), [[0, errorNumber('UNAVAILABLE')], true]);
    assert.deepEqual(await Promise.all(engine.restored), [true]);
    assert.deepEqual(apply(textOf(1000, 7)), [[], false]); // the larger bytes win
    assert.deepEqual(apply(textOf(1000, 5)), [[], false]);
    assert.deepEqual(await engine.read(), new Map([['k', textOf(1000, 7)]]));
    assert.equal(engine.store().clockTies, 2);
  });
});

describe('when values cannot be read back', () => {
  test('the answer is UNAVAILABLE, never empty, and right again when the data store is back', async () => {
    const engine = new BoundedEngine();
    await writeAndDrop(engine, { key: 'k', value: packedText(1000) });
    engine.dataStore.faults.reads.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
    await assert.rejects(engine.read(), { code: 'UNAVAILABLE' });
    assert.deepEqual(await engine.read(), new Map([['k', textOf(1000)]]));
  });

  test('a data store that hangs makes the answer UNAVAILABLE at the deadline', async () => {
    const engine = new BoundedEngine({ loader: { deadlineMs: 5000 } });
    await writeAndDrop(engine, { key: 'k', value: packedText(1000) });
    engine.dataStore.faults.hanging = true;
    const startedMs = engine.time.nowMs();
    await assert.rejects(engine.read(), { code: 'UNAVAILABLE' });
    assert.equal(engine.time.nowMs() - startedMs, 5000);
    assert.equal(engine.loader.parked, 0);
    assert.equal(engine.time.timers, 0);
  });

  test('a row that is older, another one, or gone is an error and counted, not another value', async () => {
    for (const damage of ['older', 'other', 'gone']) {
      const engine = new BoundedEngine();
      await writeAndDrop(engine, { key: 'k', value: packedText(1000), millis: 5 });
      const [identity, row] = [...engine.dataStore.rows][0] ?? assert.fail();
      if (damage === 'older') engine.dataStore.rows.set(identity, { ...row, millis: 4 });
      if (damage === 'other') engine.dataStore.rows.set(identity, { ...row, value: packedText(1000, 3) });
      if (damage === 'gone') engine.dataStore.rows.clear();
      await assert.rejects(engine.read(), { code: 'UNAVAILABLE' }, damage);
      assert.equal(engine.loader.missing, 1);
    }
  });

  test('a value that was refused by the data store is read from its dead letter', async () => {
    const engine = new BoundedEngine();
    engine.dataStore.faults.poison = () => true;
    await writeAndDrop(engine, { key: 'k', value: packedText(1000) });
    assert.equal(engine.dataStore.rows.size, 0);
    assert.deepEqual(await engine.read(), new Map([['k', textOf(1000)]]));
  });
});

describe('while an answer waits for values', () => {
  test('other answers go on, and a record that changes is answered as it is in the end', async () => {
    const engine = new BoundedEngine();
    for (let number = 0; number < 4; number++) engine.write({ key: `k${number}`, value: packedText(500, number), millis: 1 });
    await engine.flush();
    engine.dropAll();
    engine.write({ map: 'other', key: 'k', value: packedText(10) });
    let release = (): void => {};
    engine.dataStore.faults.beforeRead = () => new Promise((resolve) => (release = resolve));
    const reading = engine.values();
    await engine.settle();
    assert.equal((await engine.values('other')).size, 1);
    engine.write({ key: 'k1', value: packedText(500, 11), millis: 2 });
    engine.write({ key: 'k2', tombstone: true, millis: 2 });
    engine.write({ key: 'k3', value: packedText(500, 33), millis: 2 });
    engine.staging.softFlush(engine.time.nowMs());
    await engine.settle();
    assert.equal(engine.staging.stagedRecords, 0);
    engine.dropAll(); // k3 is dropped again, in a version that is not being read
    engine.dataStore.faults.beforeRead = () => Promise.resolve();
    release();
    assert.deepEqual(
      await reading,
      new Map<string, unknown>([
        ['k0', textOf(500, 0)],
        ['k1', textOf(500, 11)],
        ['k2', null],
        ['k3', textOf(500, 33)],
      ]),
    );
    assert.equal(engine.loader.missing, 0);
  });

  test('few answers are under way at a time, more wait, and beyond that they are refused', async () => {
    const engine = new BoundedEngine();
    await writeAndDrop(engine, { key: 'k', value: packedText(1000) });
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    engine.dataStore.faults.beforeRead = () => gate;
    const answers = Array.from({ length: 4 + 8192 + 1 }, () => engine.values());
    const outcomes = Promise.allSettled(answers);
    await engine.settle();
    assert.equal(engine.late.answers, 4 + 8192);
    release();
    const settled = await engine.time.run(outcomes);
    assert.equal(settled.filter(({ status }) => status === 'rejected').length, 1);
    assert.equal(settled.at(-1)?.status, 'rejected');
    assert.equal(engine.late.answers, 0);
    assert.ok(engine.dataStore.reads <= 2, 'those that waited for the same read shared it, the rest found it in memory');
  });

  test('askers take turns, whoever has asked for more; what an asker that is gone waits for is given up', async () => {
    const engine = new BoundedEngine();
    await writeAndDrop(engine, { key: 'k', value: packedText(1000) });
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    engine.dataStore.faults.beforeRead = () => gate;
    const order: string[] = [];
    const ask = async (asker: string): Promise<void> => {
      const answer = engine.sync.leafNowOrLater(utf8('map'), KIND_LWW, '', asker);
      assert.ok(!Array.isArray(answer));
      for await (const _ of answer) order.push(asker);
    };
    const asked = [...'aaaaaaacccb'].map(ask);
    const outcomes = Promise.allSettled(asked);
    await engine.settle();
    assert.equal(engine.late.answers, 11);
    engine.sync.forget('c');
    assert.equal(engine.late.answers, 8);
    release();
    const settled = await engine.time.run(outcomes);
    assert.equal(settled.filter(({ status }) => status === 'rejected').length, 3);
    assert.ok(order.indexOf('b') < order.lastIndexOf('a'), order.join(''));
    assert.deepEqual([order.length, engine.late.answers], [8, 0]);
  });

  test('an answer under way ends when its asker is gone', async () => {
    const engine = new BoundedEngine();
    await writeAndDrop(engine, { key: 'k', value: packedText(1000) });
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    engine.dataStore.faults.beforeRead = () => gate;
    const ask = async (): Promise<void> => {
      const answer = engine.sync.leafNowOrLater(utf8('map'), KIND_LWW, '', 'a');
      assert.ok(!Array.isArray(answer));
      for await (const _ of answer) assert.fail('nobody waits for it');
    };
    const asked = ask();
    const ended = assert.rejects(asked, (error) => error instanceof GridError && error.code === 'UNAVAILABLE');
    await engine.settle();
    engine.sync.forget('a');
    release();
    await engine.time.run(ended);
    assert.equal(engine.late.answers, 0);
  });

  test('an answer that nobody takes to its end gives its turn back', async () => {
    const engine = new BoundedEngine();
    await writeAndDrop(engine, { key: 'k', value: packedText(1000) });
    const answer = engine.sync.leafNowOrLater(utf8('map'), KIND_LWW, '');
    assert.ok(!Array.isArray(answer));
    for await (const part of answer) {
      assert.ok(part.length > 1000);
      break;
    }
    assert.equal(engine.late.answers, 0);
  });
});

test('an expired record whose value was dropped is answered as removed without a read, and its removal is stored', async () => {
  const engine = new BoundedEngine();
  const nowMs = engine.time.nowMs();
  await writeAndDrop(engine, { key: 'k', value: packedText(1000), millis: nowMs, ttlMs: 100 });
  engine.time.advance(1000);
  assert.deepEqual(await engine.read(), new Map([['k', null]]));
  assert.deepEqual([engine.dataStore.reads, engine.store().evicted, engine.expiry.expired], [0, 0, 1]);
  await engine.flush();
  assert.equal([...engine.dataStore.rows.values()][0]?.tombstone, true);
});

async function writeAndDrop(engine: BoundedEngine, fields: Parameters<BoundedEngine['write']>[0]): Promise<void> {
  assert.ok(engine.write(fields));
  await engine.flush();
  engine.dropAll();
  const store = engine.store();
  const image = new RecordImage();
  store.read(store.find(imageOf(recordOf(fields))), image);
  assert.equal(image.evicted, true);
}

async function apply(engine: BoundedEngine, model: LwwMap, step: Step): Promise<void> {
  expire(engine, model);
  if (step.type === 'pass') engine.time.advance(step.ms);
  if (step.type === 'flush') await engine.flush();
  if (step.type === 'evict' && step.all) engine.dropAll();
  else if (step.type === 'evict') engine.eviction.run(engine.time.nowMs(), 8);
  if (step.type === 'write' || step.type === 'remove') write(engine, model, step);
  if (step.type === 'read') await assertEqual(engine, model);
  if (step.type === 'away') await readWhileAway(engine, model);
  assert.ok(engine.slab.usedBytes <= MIB, `${engine.slab.usedBytes} bytes in use`);
  assert.ok(engine.slab.reservedBytes <= MIB * 1.5, `${engine.slab.reservedBytes} bytes reserved`);
}

/** Every key has one value per clock, so that nothing is a tie. */
function write(engine: BoundedEngine, model: LwwMap, step: Step & { type: 'write' | 'remove' }): void {
  const { key, millis } = step;
  const removes = step.type === 'remove';
  const value = removes ? new Uint8Array(0) : packedText(step.length, millis);
  const ttlMs = removes ? undefined : step.ttlMs;
  const counter = removes ? 0 : step.length + (ttlMs === undefined ? 0 : 100_000 * ttlMs);
  const fields = { key: `k${key}`, value, millis, counter, node: 'n', tombstone: removes };
  const written = engine.write({ ...fields, ...(ttlMs === undefined ? {} : { ttlMs }) });
  const record = { millis, counter, nodeId: 'n', value };
  if (written) model.put(`k${key}`, ttlMs === undefined ? record : { ...record, ttlMs });
}

async function readWhileAway(engine: BoundedEngine, model: LwwMap): Promise<void> {
  engine.dataStore.faults.reads.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
  const before = engine.loader.failures;
  const outcome = await engine.read().then(
    (values) => values,
    (error: unknown) => error,
  );
  if (engine.loader.failures > before) assert.equal((outcome as GridError).code, 'UNAVAILABLE');
  else assertValues(outcome as Map<string, unknown>, model, engine.time.nowMs());
  engine.dataStore.faults.reads.length = 0;
}

/** Expired records become removals, stamped with the moment of expiry. */
function expire(engine: BoundedEngine, model: LwwMap): void {
  const nowMs = engine.time.nowMs();
  engine.expiry.run(nowMs);
  for (const [key, { millis, counter, nodeId, ttlMs, value }] of [...model.records]) {
    if (value.length > 0 && ttlMs !== undefined && millis + ttlMs < nowMs)
      model.put(key, { millis: millis + ttlMs, counter, nodeId, value: new Uint8Array(0) });
  }
}

async function assertEqual(engine: BoundedEngine, model: LwwMap): Promise<void> {
  expire(engine, model);
  assertValues(await engine.read(), model, engine.time.nowMs());
  const sums = new Uint32Array(4096);
  engine.store().copyLeafSums(sums);
  assert.equal(foldRoot(sums), model.tree().root);
}

function assertValues(values: Map<string, unknown>, model: LwwMap, nowMs: number): void {
  const expected = [...model.records.keys()].map((key) => [key, model.read(key, nowMs)] as const);
  assert.deepEqual([...values.keys()].sort(), expected.map(([key]) => key).sort());
  for (const [key, value] of expected) {
    const text = values.get(key);
    if (value === null) assert.equal(text, null, key);
    else
      assert.ok(
        text !== null && Buffer.compare(packedText((text as string).length, Number.parseInt(text as string, 10)), value) === 0,
        key,
      );
  }
}
