/**
 * The compiled kernel of merges against the record store that it stands in for: whatever comes, with it and without it the
 * same records are kept, counted, staged, told and refused.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LEAVES } from '../engine/crdt/merkle-tree.ts';
import { EngineUnderTest, utf8 } from '../engine/domains/testing/scanned-ops.ts';
import { JUDGED_ALLOWED } from '../engine/domains/crdt/row-judge.ts';
import { encode } from '../engine/protocol/codec.ts';
import { errorNumber } from '../engine/protocol/errors.ts';
import { FLAG_EMPTY, FLAG_INVALID, FLAG_JUDGED, FLAG_UNSTAMPED, FLAG_WRITER_LISTENS } from '../engine/protocol/op-index.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { droppableBytes, dropValue } from '../engine/storage/evicted-value.ts';
import type { MapDataStore, StagedSource } from '../engine/storage/map-data-store.ts';
import type { MergeKernel } from '../engine/storage/merge-kernel.ts';
import { KIND_LWW, KIND_OR, RecordImage } from '../engine/storage/record.ts';
import { CompositeObserver } from '../engine/storage/record-observer.ts';
import { RecordStore } from '../engine/storage/record-store.ts';
import type { RecordMeta, RecordRef } from '../engine/storage/storage.ts';
import { type StoredRecord, storedRecord } from '../engine/storage/stored-record.ts';
import { loadMergeKernel } from './kernel-file.ts';

const KERNEL_BYTES = 64 << 20;
const NOW = 1_700_000_000_000;
const MAPS = ['m', 'other'];

/** What hears of each change, with the record as it is then. */
class Ledger implements MapDataStore {
  readonly stagedRecords = 0;
  readonly stagedBytes = 0;
  readonly lines: unknown[] = [];

  changed(store: StagedSource, ref: RecordRef): void {
    this.lines.push(described(store, ref));
  }

  lagMs(): number {
    return 0;
  }

  admits(): boolean {
    return true;
  }

  moved(): void {}
  pruned(): void {}
  softFlush(): void {}
  async hardFlush(): Promise<void> {}
}

/** One worker's services, and what they said. */
class World {
  readonly observers = new CompositeObserver([]);
  readonly heard: unknown[] = [];
  readonly #ledger = new Ledger();
  readonly #mapIds = new Map<string, number>();
  readonly #engine: EngineUnderTest;

  constructor(kernel: MergeKernel | undefined, listens: boolean) {
    const { observers } = this;
    this.#engine = new EngineUnderTest({
      kernel,
      observer: observers,
      dataStore: this.#ledger,
      listeners: [listens ? 1 : 0, 1],
      gateways: 2,
      backlogRecordsMax: 8,
      judge: { judge: (_map, image) => (image.counter === 1 ? errorNumber('FORBIDDEN') : JUDGED_ALLOWED) },
    });
    this.#engine.fences.raise('lock', 5);
  }

  /** Refuses writes of the map whose counter is 0, or lets them pass again. */
  guard(): void {
    const map = this.#engine.maps.openByName(utf8('m'));
    if (map?.guard !== undefined) map.guardWith('schema', undefined);
    else
      map?.guardWith('schema', {
        refusal: (_kind, { counter }) => (counter === 0 ? { code: 'FORBIDDEN', detail: 'counter' } : undefined),
      });
  }

  horizon(): void {
    this.#engine.watermarkMs = NOW + 30;
  }

  watch(old: boolean): void {
    const heard = this.heard;
    this.observers.add({
      watchesOld: old,
      changed: (store, ref, existed) => heard.push([existed, described(store, ref), neighbours(store)]),
      changing: (store, ref) => heard.push(['old', ref === 0 ? 0 : described(store, ref)]),
    });
  }

  apply(ops: readonly object[], nowMs: number): unknown {
    const flagsOf = (ordinal: number): number => {
      const op = ops[ordinal];
      return op !== undefined && 'flags' in op && typeof op.flags === 'number' ? op.flags : 0;
    };
    const rejected = [...this.#engine.apply(ops, nowMs, 0, 7, this.#mapIds, flagsOf)];
    const events = [0, 1].map((gateway) => this.#engine.takeEvents(gateway));
    return { rejected, events, changes: this.#ledger.lines.splice(0), heard: this.heard.splice(0) };
  }

  /** Drops the value of one record in three from memory. */
  evict(): void {
    for (const store of this.#stores()) {
      refsOf(store).forEach((ref, index) => {
        if (index % 3 === 0 && droppableBytes(store, ref) > 0) dropValue(store, ref);
      });
    }
  }

  prune(): number {
    return this.#stores().reduce((sum, store) => sum + store.pruneTombstones(NOW + 40, 1e6, NOW), 0);
  }

  leavePartition(partition: number): void {
    for (const store of this.#stores()) store.removePartition(partition);
  }

  describe(): unknown {
    return this.#stores().map((store) => {
      const { records, tombstones, evicted, evictedBytes, applied, stale, duplicates, clockTies, bytes } = store;
      const sums = new Uint32Array(LEAVES);
      if (store.kind === KIND_LWW || evicted === 0) store.copyLeafSums(sums);
      const expiring = refsOf(store).map((ref) => store.expiryMillis(ref));
      const { entries, staleEntries } = this.#engine.queue;
      const counts = {
        entries,
        staleEntries,
        expiring,
        records,
        tombstones,
        evicted,
        evictedBytes,
        applied,
        stale,
        duplicates,
        clockTies,
        bytes,
      };
      return {
        counts,
        sums: Buffer.from(sums.buffer).toString('base64'),
        all: refsOf(store).map((ref) => described(store, ref)),
      };
    });
  }

  get staleKeys(): readonly string[] {
    return this.#engine.staleKeys;
  }

  #stores(): RecordStore[] {
    return MAPS.flatMap((name) => {
      const map = this.#engine.maps.openByName(utf8(name));
      return map === undefined ? [] : [map.existing(KIND_LWW), map.existing(KIND_OR)];
    }).filter((store) => store !== undefined);
  }
}

/** Clocks of records that may be written by the same ops: a watcher may look at others than the one that changed. */
function neighbours(store: StagedSource): number[] {
  const places = ['key-0', 'key-1', 'key-2'].map((key) => partitionOf(fnv1a(key)));
  assert.ok(store instanceof RecordStore);
  return places.map((place) => {
    const ref = store.recordAt(place, 0);
    return ref === 0 ? 0 : store.millisOf(ref);
  });
}

function refsOf(store: RecordStore): RecordRef[] {
  const refs: RecordRef[] = [];
  const cursor = store.cursor();
  for (let ref = cursor.next(); ref !== 0; ref = cursor.next()) refs.push(ref);
  return refs;
}

function described(store: StagedSource, ref: RecordRef): { record: StoredRecord; meta: RecordMeta | undefined } {
  const image = new RecordImage();
  store.read(ref, image);
  const meta: RecordMeta = { version: 0, createdS: 0, updatedS: 0, accessedS: 0, hits: 0, costBytes: 0 };
  if (store instanceof RecordStore) store.meta(ref, meta);
  return { record: storedRecord(store.kind, store.map, image), meta };
}

/** Keys of one partition: its index grows, and moves a few slots at a time. */
const CROWD = Array.from({ length: 100_000 }, (_, index) => `crowd-${index}`)
  .filter((key) => partitionOf(fnv1a(key)) === 5)
  .slice(0, 300);

/** Pairs of keys with one hash: their bytes must tell them apart, wherever they differ. */
const ALIKE = ['', 'eight by'].flatMap((prefix) => pairOfOneHash(prefix));

function pairOfOneHash(prefix: string): [string, string] {
  const keys = new Map<number, string>();
  for (let number = 36 ** 5; ; number++) {
    const key = `${prefix}${number.toString(36)}`;
    const before = keys.get(fnv1a(key));
    if (before !== undefined) return [before, key];
    keys.set(fnv1a(key), key);
  }
}

const key = fc.oneof(
  { weight: 6, arbitrary: fc.nat(5).map((index) => `key-${index}`) },
  { weight: 3, arbitrary: fc.nat(CROWD.length - 1).map((index) => CROWD[index] as string) },
  { weight: 1, arbitrary: fc.constantFrom(...ALIKE) },
  { weight: 1, arbitrary: fc.constantFrom('', 'schlüssel', 'k'.repeat(8), 'k'.repeat(300), '\ud800') },
);
const timestamp = fc.record({
  millis: fc.integer({ min: NOW, max: NOW + 60 }),
  counter: fc.constantFrom(0, 1, 0xffff_ffff),
  nodeId: fc.constantFrom('a', 'client-1', 'knoten-ü', 'n'.repeat(40)),
});
const value = fc.oneof(
  { weight: 8, arbitrary: fc.string({ maxLength: 60 }) },
  { weight: 1, arbitrary: fc.string({ minLength: 200, maxLength: 2000 }) },
  { weight: 1, arbitrary: fc.constantFrom(null, 0, true, { deep: [1, 2] }) },
);
const mapName = fc.constantFrom('m', 'm', 'm', 'other');
const put = fc.record({ mapName, key, value, timestamp }).map(({ mapName, key, value, timestamp }) => ({
  ...{ mapName, opType: 'PUT', key, timestamp },
  record: { value, timestamp },
}));
/** Of one size, so that the kernel joins most of them. */
const even = fc.record({
  key: fc.constantFrom('key-0', 'key-1', 'key-2', ...ALIKE),
  value: fc.constantFrom('1', '2', '3'),
  millis: fc.integer({ min: NOW, max: NOW + 1_000_000 }),
});
const evenPut = even.map(({ key, value, millis }) => ({
  ...{ mapName: 'm', opType: 'PUT', key },
  record: { value, timestamp: { millis, counter: 0, nodeId: 'a' } },
}));
const op: fc.Arbitrary<object> = fc.oneof(
  { weight: 12, arbitrary: put },
  { weight: 12, arbitrary: evenPut },
  { weight: 2, arbitrary: fc.record({ mapName, opType: fc.constant('REMOVE'), key, timestamp, record: timestamp.map(removal) }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.oneof(put, evenPut), fc.constantFrom(5, 100))
      .map(([usual, ttlMs]) => ({ ...usual, record: { ...usual.record, ttlMs } })),
  },
  { weight: 1, arbitrary: fc.record({ mapName, opType: fc.constant('REMOVE'), key, record: fc.constant(null) }) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.oneof(put, evenPut), fc.constantFrom(FLAG_JUDGED, FLAG_EMPTY, FLAG_INVALID, FLAG_UNSTAMPED, FLAG_WRITER_LISTENS))
      .map(([usual, flags]) => ({ ...usual, flags })),
  },
  {
    weight: 2,
    arbitrary: fc.oneof(put, evenPut).map(({ record, ...op }) => ({ ...op, record: { timestamp: record.timestamp } })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.oneof(put, evenPut), fc.constantFrom(4, 5, 6))
      .map(([usual, token]) => ({ ...usual, fence: { lock: 'lock', token } })),
  },
  {
    weight: 1,
    arbitrary: fc.record({ mapName, key, timestamp, value }).map(({ mapName, key, timestamp, value }) => ({
      ...{ mapName, opType: 'OR_ADD', key },
      orRecord: { value, timestamp, tag: `${timestamp.millis}:${timestamp.counter}:${timestamp.nodeId}` },
    })),
  },
);

function removal(timestamp: { millis: number; counter: number; nodeId: string }): object {
  return { value: null, timestamp };
}

type Step =
  | { readonly type: 'ops'; readonly ops: readonly object[] }
  | { readonly type: 'fill' | 'evict' | 'prune' | 'leave' | 'sync' | 'guard' | 'horizon' | 'watch' | 'watchOld' };

const step = fc.oneof<fc.MaybeWeightedArbitrary<Step>[]>(
  {
    weight: 12,
    arbitrary: fc
      .oneof(fc.array(op, { minLength: 1, maxLength: 80 }), fc.array(evenPut, { minLength: 1, maxLength: 80 }))
      .map((ops) => ({ type: 'ops', ops })),
  },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constantFrom('fill', 'evict', 'prune', 'leave', 'sync') }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('guard', 'horizon', 'watch', 'watchOld') }) },
);

/** A put of every key of the crowd, which is more than one group of ops. */
function filling(millis: number): object[] {
  const timestamp = { millis, counter: 0, nodeId: 'filler' };
  return CROWD.map((key) => ({ mapName: 'm', opType: 'PUT', key, timestamp, record: { value: 'full', timestamp } }));
}

function take(world: World, { type, ...step }: Step, nowMs: number): unknown {
  if (type === 'evict') return world.evict();
  if (type === 'prune') return world.prune();
  if (type === 'sync') return world.describe();
  if (type === 'guard') return world.guard();
  if (type === 'horizon') return world.horizon();
  if (type === 'leave') return world.leavePartition(5);
  if (type === 'watch' || type === 'watchOld') return world.watch(type === 'watchOld');
  if (type === 'fill') return world.apply(filling(nowMs), nowMs);
  return world.apply('ops' in step ? step.ops : [], nowMs);
}

test('with the kernel and without it the same becomes of every write', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), fc.boolean(), (steps, listens) => {
      const kernel = kernelOf(KERNEL_BYTES);
      const [by, without] = [new World(kernel, listens), new World(undefined, listens)];
      steps.forEach((step, index) => {
        assert.deepEqual(take(by, step, NOW + index * 1000), take(without, step, NOW + index * 1000));
      });
      assert.deepEqual(by.describe(), without.describe());
      assert.deepEqual(by.staleKeys, without.staleKeys);
    }),
    { numRuns: 300 },
  );
});

test('records beyond the memory that was reserved are joined without the kernel', () => {
  const kernel = kernelOf(1);
  const [by, without] = [new World(kernel, false), new World(undefined, false)];
  const value = 'v'.repeat(8000);
  for (let round = 0; round < 3; round++) {
    const timestamp = { millis: NOW + round, counter: 0, nodeId: 'n' };
    const ops = CROWD.map((key) => ({ mapName: 'm', opType: 'PUT', key, timestamp, record: { value, timestamp } }));
    for (let first = 0; first < ops.length; first += 30) {
      assert.deepEqual(by.apply(ops.slice(first, first + 30), NOW), without.apply(ops.slice(first, first + 30), NOW));
    }
  }
  assert.deepEqual(by.describe(), without.describe());
});

test('puts that overwrite are joined by the kernel itself, and no other op is', () => {
  const kernel = kernelOf(KERNEL_BYTES);
  const world = new World(kernel, false);
  const at = (millis: number): object[] => filling(millis).slice(0, 10);
  world.apply(at(NOW), NOW);
  kernel.results.fill(0);
  world.apply(at(NOW + 2), NOW);
  assert.deepEqual(
    [...kernel.results.slice(0, 10)].map((result) => result !== 0),
    new Array(10).fill(true),
  );
  kernel.results.fill(-1);
  world.apply(at(NOW + 1), NOW);
  assert.deepEqual([...kernel.results.slice(0, 10)], new Array(10).fill(0), 'older than what is stored');
  kernel.results.fill(-1);
  world.apply(at(NOW + 2), NOW);
  assert.deepEqual([...kernel.results.slice(0, 10)], new Array(10).fill(-1), 'the same again: node ids and values must tell');
});

test('ops that are longer than the input are joined without the kernel', () => {
  const kernel = kernelOf(KERNEL_BYTES);
  const [by, without] = [new World(kernel, false), new World(undefined, false)];
  for (const millis of [NOW, NOW + 1]) {
    const timestamp = { millis, counter: 0, nodeId: 'n' };
    const record = { value: 'v'.repeat(600_000), timestamp };
    const ops = [{ mapName: 'm', opType: 'PUT', key: 'long', timestamp, record }];
    assert.ok(encode(ops).length > 600_000);
    assert.deepEqual(by.apply(ops, NOW), without.apply(ops, NOW));
  }
  assert.deepEqual(by.describe(), without.describe());
});

function kernelOf(bytes: number): MergeKernel {
  const kernel = loadMergeKernel(bytes);
  assert.ok(kernel !== undefined, 'the build compiles the kernel');
  return kernel;
}
