import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { partitionOf } from '../partition/hash.ts';
import { dropValue, fillValue } from './evicted-value.ts';
import { type ExpiringStore, ExpiryQueue, LOOKED_IN_VAIN, NOTHING_DUE } from './expiry-queue.ts';
import { NullDataStore } from './null-data-store.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from './record.ts';
import { JOIN_APPLIED, JOIN_STALE, RecordStore } from './record-store.ts';
import { Slab } from './slab.ts';
import { sample } from './storage.conformance.ts';
import { imageOf, type StoredRecord } from './stored-record.ts';

const STALE_MIN = 4;

/** Stores of one worker, with the queue that they share. */
class Stores {
  readonly slab = new Slab();
  readonly queue: ExpiryQueue;
  readonly all: RecordStore[];

  constructor(kinds: readonly RecordKind[] = [KIND_LWW], staleMin = STALE_MIN) {
    this.queue = new ExpiryQueue(this.slab, staleMin);
    const { slab, queue: expiry } = this;
    const dataStore = new NullDataStore();
    this.all = kinds.map((kind, index) => {
      return new RecordStore({ map: Buffer.from(`m${index}`), kind, slab, dataStore, expiry, decode: () => null });
    });
  }

  get first(): RecordStore {
    return this.all[0] as RecordStore;
  }

  get records(): number {
    return this.all.reduce((records, store) => records + store.records, 0);
  }

  /** Expires all that is due, as a slice without bounds does. Answers how many there were. */
  sweep(nowMs: number): number {
    let expired = 0;
    for (let ref = this.queue.poll(nowMs); ref !== NOTHING_DUE; ref = this.queue.poll(nowMs)) {
      if (ref === LOOKED_IN_VAIN) continue;
      const store = this.queue.dueStore as ExpiringStore;
      assert.ok(store.expire(ref, nowMs), 'what the queue gives out has expired');
      expired += 1;
    }
    return expired;
  }
}

function write(key: string, millis: number, change: Partial<StoredRecord> = {}): RecordImage {
  return imageOf(sample(key, { millis, ...change }));
}

function removal(key: string, millis: number): RecordImage {
  return write(key, millis, { tombstone: true, value: new Uint8Array(0), ttlMs: Number.NaN });
}

function find(store: RecordStore, key: string, tag = ''): RecordImage | undefined {
  const image = new RecordImage();
  const ref = store.find(write(key, 0, { tag: Buffer.from(tag) }));
  if (ref === 0) return undefined;
  store.read(ref, image);
  return image;
}

describe('against a model', () => {
  interface Expected {
    readonly millis: number;
    readonly ttlMs: number;
    readonly tombstone: boolean;
  }
  const ttl = fc.constantFrom(Number.NaN, Number.NaN, 0, 1, 5, 5.5, 20, 90, Number.MAX_SAFE_INTEGER, 1e300);
  const steps = fc.array(
    fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ put: fc.nat(5), store: fc.nat(1), ttlMs: ttl, bytes: fc.constantFrom(9, 10, 10, 99) }),
      },
      { weight: 2, arbitrary: fc.record({ remove: fc.nat(5), store: fc.nat(1) }) },
      { weight: 3, arbitrary: fc.record({ advance: fc.nat(30) }) },
      { weight: 1, arbitrary: fc.record({ prune: fc.nat(40) }) },
      { weight: 1, arbitrary: fc.record({ forget: fc.nat(5), store: fc.nat(1) }) },
      { weight: 1, arbitrary: fc.record({ tidy: fc.nat(20) }) },
    ),
    { maxLength: 150, size: 'max' },
  );

  test('no record expires early, none is forgotten, whatever moves, is overwritten, removed, pruned or handed over', () => {
    fc.assert(
      fc.property(steps, (some) => {
        const stores = new Stores([KIND_LWW, KIND_LWW], 0);
        const models = stores.all.map(() => new Map<string, Expected>());
        let nowMs = 1000;
        for (const step of some) {
          if ('put' in step || 'remove' in step) {
            nowMs += 1; // every write is newer than the ones before
            const key = `key-${'put' in step ? step.put : step.remove}`;
            const ttlMs = 'put' in step ? step.ttlMs : Number.NaN;
            const image =
              'put' in step ? write(key, nowMs, { ttlMs, value: new Uint8Array(step.bytes + 1) }) : removal(key, nowMs);
            assert.equal(stores.all[step.store]?.join(image, nowMs), JOIN_APPLIED);
            models[step.store]?.set(key, { millis: nowMs, ttlMs, tombstone: !('put' in step) });
          } else if ('advance' in step) {
            nowMs += step.advance;
            stores.sweep(nowMs);
            for (const model of models) expireAll(model, nowMs);
            assertSame(stores, models);
          } else if ('prune' in step) {
            for (const [index, store] of stores.all.entries()) {
              for (let round = 0; round < 2; round++) store.pruneTombstones(nowMs - step.prune, 1000, nowMs);
              for (const [key, { tombstone, millis }] of models[index] ?? [])
                if (tombstone && millis < nowMs - step.prune) models[index]?.delete(key);
            }
          } else if ('forget' in step) {
            const partition = partitionOf(write(`key-${step.forget}`, 0).keyHash);
            stores.all[step.store]?.removePartition(partition);
            for (const key of models[step.store]?.keys() ?? [])
              if (partitionOf(write(key, 0).keyHash) === partition) models[step.store]?.delete(key);
          } else stores.queue.tidy(step.tidy);
          assert.ok(stores.queue.entries - stores.queue.staleEntries <= stores.records, 'one entry a record');
          assert.ok(stores.queue.staleEntries >= 0);
        }
        const endMs = nowMs + 1000;
        stores.sweep(endMs);
        for (const model of models) expireAll(model, endMs);
        assertSame(stores, models);
        assert.equal(stores.queue.entries, 0, 'what is left would never come up');
      }),
      { numRuns: 120 },
    );
  });

  /** What the rule says of all records of a map at a time: nothing but this may have happened. */
  function expireAll(model: Map<string, Expected>, nowMs: number): void {
    for (const [key, { millis, ttlMs, tombstone }] of model) {
      if (tombstone || !(millis + ttlMs < nowMs)) continue;
      model.set(key, { millis: Math.ceil(millis + ttlMs), ttlMs: Number.NaN, tombstone: true });
    }
  }

  function assertSame(stores: Stores, models: readonly Map<string, Expected>[]): void {
    for (const [index, store] of stores.all.entries()) {
      const model = models[index] ?? new Map();
      assert.equal(store.records, model.size);
      for (const [key, expected] of model) {
        const image = find(store, key);
        assert.deepEqual({ millis: image?.millis, ttlMs: image?.ttlMs, tombstone: image?.tombstone }, expected, key);
      }
    }
  }
});

describe('one entry a record', () => {
  test('a write without TTL has none, nor has a tombstone, nor a record that never expires', () => {
    const stores = new Stores();
    stores.first.join(write('a', 1), 1);
    stores.first.join(write('b', 1, { tombstone: true, value: new Uint8Array(0), ttlMs: 5 }), 1);
    stores.first.join(write('c', 1, { ttlMs: Number.MAX_SAFE_INTEGER }), 1);
    assert.equal(stores.queue.entries, 0);
  });

  test('a key that is refreshed all the time has one entry, and expires once it is left alone', () => {
    const stores = new Stores();
    let nowMs = 0;
    for (; nowMs < 5000; nowMs += 5) {
      stores.first.join(write('session', nowMs, { ttlMs: 30 }), nowMs);
      assert.equal(stores.sweep(nowMs), 0);
      assert.deepEqual([stores.queue.entries, stores.queue.staleEntries], [1, 0]);
    }
    assert.equal(stores.sweep(4995 + 30), 0);
    assert.equal(stores.sweep(4995 + 31), 1);
    assert.equal(find(stores.first, 'session')?.millis, 4995 + 30);
  });

  test('an earlier expiry is met at its time, and the later one comes to nothing', () => {
    const stores = new Stores();
    stores.first.join(write('k', 100, { ttlMs: 10_000 }), 100);
    stores.first.join(write('k', 101, { ttlMs: 50 }), 101);
    assert.equal(stores.sweep(151), 0);
    assert.equal(stores.sweep(152), 1);
    stores.first.join(write('k', 200), 200); // without a TTL it stays
    assert.equal(stores.sweep(20_000), 0);
    assert.equal(find(stores.first, 'k')?.tombstone, false);
    assert.equal(stores.queue.entries, 0);
  });

  test('a longer or no TTL keeps the record past its old time', () => {
    const stores = new Stores();
    for (const key of ['longer', 'none', 'removed']) stores.first.join(write(key, 100, { ttlMs: 50 }), 100);
    stores.first.join(write('longer', 110, { ttlMs: 500 }), 110);
    stores.first.join(write('none', 110), 110);
    stores.first.join(removal('removed', 110), 110);
    assert.equal(stores.sweep(610), 0);
    assert.equal(stores.sweep(611), 1);
    assert.equal(find(stores.first, 'removed')?.millis, 110);
    assert.equal(find(stores.first, 'none')?.tombstone, false);
  });

  test('an entry whose block went to a record of another store does not touch that', () => {
    const stores = new Stores([KIND_LWW, KIND_LWW]);
    const [left, right] = [stores.first, stores.all[1] as RecordStore];
    for (let index = 0; index < 300; index++) left.join(write(`k-${index}`, 100, { ttlMs: 50 }), 100);
    for (let partition = 0; partition < 271; partition++) left.removePartition(partition);
    for (let index = 0; index < 300; index++) right.join(write(`k-${index}`, 100, { ttlMs: 5000 }), 100);
    assert.equal(stores.sweep(1000), 0); // more blocks than marks: some stale entries have the mark that stands there now
    assert.deepEqual([stores.queue.entries, right.tombstones], [300, 0]);
    assert.equal(stores.sweep(5101), 300);
  });
});

describe('bounds', () => {
  test('however often records move, the queue stays below twice their number', () => {
    const stores = new Stores([KIND_LWW], 64);
    let entriesMax = 0;
    for (let round = 0; round < 60_000; round++) {
      const key = `k-${round % 1000}`;
      const bytes = (Math.floor(round / 1000) % 2) * 100 + 10; // another size class than before: the block is left
      stores.first.join(write(key, round + 1, { ttlMs: 1e9 - round, value: new Uint8Array(bytes) }), round + 1);
      entriesMax = Math.max(entriesMax, stores.queue.entries);
    }
    assert.ok(entriesMax > 1100, 'stale entries were made');
    assert.ok(entriesMax <= 2000 + 2 * 64, `${entriesMax} entries`);
    assert.equal(stores.sweep(2e9), 1000);
    assert.deepEqual([stores.queue.entries, stores.queue.staleEntries], [0, 0]);
  });

  test('entries of records that left are looked for, a few at a time', () => {
    const stores = new Stores([KIND_LWW], 10);
    for (let index = 0; index < 2000; index++) stores.first.join(write(`k-${index}`, 100, { ttlMs: 1e6 }), 100);
    for (let partition = 0; partition < 200; partition++) stores.first.removePartition(partition);
    assert.equal(stores.queue.staleEntries, 2000 - stores.first.records);
    for (let tick = 0; tick < 40; tick++) stores.queue.tidy(100);
    assert.ok(stores.queue.staleEntries <= 10 + stores.queue.entries / 4, `${stores.queue.staleEntries}`);
    assert.equal(stores.sweep(2e6), stores.first.records);
  });

  test('memory is given back when a flood has expired', () => {
    const stores = new Stores();
    for (let index = 0; index < 60_000; index++) stores.first.join(write(`k-${index}`, 100, { ttlMs: 50 }), 100);
    assert.ok(stores.queue.bytes >= 60_000 * 16);
    assert.equal(stores.sweep(200), 60_000);
    assert.ok(stores.queue.bytes <= 2 * 16_384 * 16);
  });
});

describe('what an expired record becomes', () => {
  test('the write that expired loses against its removal when it is sent again, a later one wins', () => {
    const stores = new Stores();
    const again = (): RecordImage => write('k', 100, { ttlMs: 50 });
    stores.first.join(again(), 100);
    stores.sweep(1000);
    assert.equal(stores.first.join(again(), 1001), JOIN_STALE);
    assert.equal(stores.first.join(write('k', 149, { ttlMs: 5000 }), 1002), JOIN_STALE); // written before it expired
    assert.equal(stores.first.join(write('k', 151), 1003), JOIN_APPLIED); // written offline, sent late
    assert.equal(find(stores.first, 'k')?.tombstone, false);
  });

  test('a record that has expired when it comes, by write or by restore, is due at once', () => {
    const stores = new Stores();
    stores.first.join(write('written', 100, { ttlMs: 50 }), 5000);
    stores.first.restore(write('restored', 100, { ttlMs: 60 }));
    assert.equal(stores.first.get(write('written', 0), 5000), 0);
    assert.equal(stores.first.get(write('restored', 0), 5000), 0);
    assert.equal(stores.sweep(5000), 2);
    assert.deepEqual([find(stores.first, 'written')?.millis, find(stores.first, 'restored')?.millis], [150, 160]);
    assert.equal(stores.first.restore(write('restored', 100, { ttlMs: 60 })), JOIN_STALE);
  });

  test('a TTL of 0 expires once its millisecond is over, and stays away', () => {
    const stores = new Stores();
    const image = write('k', 100, { ttlMs: 0, counter: 7 });
    stores.first.join(image, 100);
    assert.equal(stores.sweep(100), 0);
    assert.equal(stores.sweep(101), 1);
    assert.deepEqual([find(stores.first, 'k')?.millis, find(stores.first, 'k')?.counter], [100, 8]);
    assert.equal(stores.first.join(write('k', 100, { ttlMs: 0, counter: 7 }), 102), JOIN_STALE);
    assert.equal(stores.sweep(1e9), 0);
  });

  test('each tag of an OR-Map expires for itself and never comes back', () => {
    const stores = new Stores([KIND_OR]);
    const add = (tag: string, ttlMs: number): RecordImage => write('k', 100, { tag: Buffer.from(tag), ttlMs });
    for (const [tag, ttlMs] of [
      ['short', 50],
      ['long', 500],
      ['lasting', Number.NaN],
    ] as const)
      stores.first.join(add(tag, ttlMs), 100);
    assert.equal(stores.sweep(200), 1);
    assert.deepEqual([stores.first.records, stores.first.tombstones], [3, 1]);
    assert.deepEqual([find(stores.first, 'k', 'short')?.millis, find(stores.first, 'k', 'short')?.tombstone], [150, true]);
    assert.equal(stores.first.join(add('short', 50), 201), JOIN_STALE);
    assert.equal(stores.sweep(1000), 1);
    assert.equal(find(stores.first, 'k', 'lasting')?.tombstone, false);
  });

  test('a record whose value was dropped from memory, or dropped and put back, expires all the same', () => {
    const stores = new Stores();
    const value = new Uint8Array(300).fill(7);
    for (const key of ['dropped', 'back', 'lasting']) {
      const ttlMs = key === 'lasting' ? Number.NaN : 50;
      stores.first.join(write(key, 100, { value, ttlMs }), 100);
      dropValue(stores.first, stores.first.lastRef);
    }
    assert.ok(fillValue(stores.first, write('back', 100, { value, ttlMs: 50 })));
    assert.equal(stores.first.evicted, 2);
    assert.equal(stores.sweep(151), 2);
    assert.deepEqual([stores.first.evicted, stores.first.tombstones], [1, 2]);
    assert.deepEqual([find(stores.first, 'dropped')?.valueBytes, find(stores.first, 'dropped')?.evicted], [0, false]);
  });

  test('two stores, of which one expires earlier and one later, end with the same tree', () => {
    const write100 = (store: RecordStore): void => {
      for (let index = 0; index < 100; index++) store.join(write(`k-${index}`, 100, { ttlMs: index * 3, counter: index }), 100);
    };
    const [early, late] = [new Stores(), new Stores()];
    write100(early.first);
    write100(late.first);
    for (let nowMs = 100; nowMs < 300; nowMs += 7) early.sweep(nowMs);
    assert.notDeepEqual(sumsOf(early.first), sumsOf(late.first));
    early.sweep(1e6);
    late.sweep(2e6);
    assert.equal(early.first.tombstones, 100);
    assert.deepEqual(sumsOf(early.first), sumsOf(late.first));
    write100(late.first); // sent again
    assert.deepEqual(sumsOf(early.first), sumsOf(late.first));
  });
});

function sumsOf(store: RecordStore): Uint32Array {
  const sums = new Uint32Array(4096);
  store.copyLeafSums(sums);
  return sums;
}
