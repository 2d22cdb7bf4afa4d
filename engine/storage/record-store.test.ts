import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { foldRoot, LEAVES } from '../crdt/merkle-tree.ts';
import { LwwMap, OrMap } from '../crdt/model.ts';
import { fnv1aUtf8, PARTITION_COUNT, partitionOf } from '../partition/hash.ts';
import type { MapDataStore, StagedSource } from './map-data-store.ts';
import { NullDataStore } from './null-data-store.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from './record.ts';
import { CompositeObserver } from './record-observer.ts';
import { JOIN_APPLIED, JOIN_DUPLICATE, JOIN_STALE, RecordStore } from './record-store.ts';
import { stampAfter } from './server-stamp.ts';
import { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';
import { sample } from './storage.conformance.ts';
import { imageOf, type StoredRecord, storedRecord } from './stored-record.ts';

const NOW = 1_700_000_000_000;

/** Stages as write-behind does: a list of references, and in each record its place in it. */
class StagingList implements MapDataStore {
  readonly stagedBytes = 0;
  readonly refs: RecordRef[] = [];
  readonly prunedKeys: string[] = [];

  get stagedRecords(): number {
    return this.refs.filter((ref) => ref !== 0).length;
  }

  lagMs(): number {
    return 0;
  }

  admits(): boolean {
    return true;
  }

  changed(store: StagedSource, ref: RecordRef): void {
    if (store.stagedAt(ref) === 0) store.setStagedAt(ref, this.refs.push(ref));
  }

  moved(store: StagedSource, from: RecordRef, to: RecordRef): void {
    assert.equal(this.refs[store.stagedAt(to) - 1], from);
    this.refs[store.stagedAt(to) - 1] = to;
  }

  pruned(store: StagedSource, ref: RecordRef, image: RecordImage): void {
    this.prunedKeys.push(textOf(storedRecord(store.kind, store.map, image).key));
    if (store.stagedAt(ref) !== 0) this.refs[store.stagedAt(ref) - 1] = 0;
    store.setStagedAt(ref, 0);
  }

  softFlush(): void {}
  async hardFlush(): Promise<void> {}
}

function newStore(kind: RecordKind = KIND_LWW, dataStore: MapDataStore = new NullDataStore()): RecordStore {
  const decode = (bytes: Uint8Array, start: number, end: number): unknown => textOf(bytes.subarray(start, end));
  return new RecordStore({ map: Buffer.from('m'), kind, slab: new Slab(), dataStore, decode });
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text));
}

function write(key: string, millis: number, change: Partial<StoredRecord> = {}): RecordImage {
  return imageOf(sample(key, { millis, ...change }));
}

function at(store: RecordStore, ref: RecordRef): StoredRecord {
  const image = new RecordImage();
  store.read(ref, image);
  return storedRecord(store.kind, store.map, image);
}

function all(store: RecordStore): StoredRecord[] {
  const records: StoredRecord[] = [];
  const cursor = store.cursor();
  for (let ref = cursor.next(); ref !== 0; ref = cursor.next()) records.push(at(store, ref));
  return records;
}

function rootOf(store: RecordStore): number {
  const sums = new Uint32Array(LEAVES);
  store.copyLeafSums(sums);
  return foldRoot(sums);
}

describe('last writer wins', () => {
  test('the newer clock wins, an older one is stale, a repeat is a duplicate', () => {
    const store = newStore();
    assert.equal(store.join(write('a', 5, { counter: 1 }), NOW), JOIN_APPLIED);
    assert.equal(store.join(write('a', 5, { counter: 0 }), NOW), JOIN_STALE);
    assert.equal(store.join(write('a', 4, { counter: 9 }), NOW), JOIN_STALE);
    assert.equal(store.join(write('a', 5, { counter: 1 }), NOW), JOIN_DUPLICATE);
    assert.equal(store.join(write('a', 5, { counter: 1, node: bytesOf('z') }), NOW), JOIN_APPLIED);
    assert.equal(store.join(write('a', 5, { counter: 0xffffffff }), NOW), JOIN_APPLIED);
    assert.equal(store.join(write('a', 6), NOW), JOIN_APPLIED);
    assert.deepEqual([store.applied, store.stale, store.duplicates, store.clockTies, store.records], [4, 2, 1, 0, 1]);
    assert.equal(at(store, store.lastRef).millis, 6);
  });

  test('equal clocks with different values keep the larger bytes and are counted', () => {
    const store = newStore();
    store.join(write('a', 1, { value: Uint8Array.of(2) }), NOW);
    assert.equal(store.join(write('a', 1, { value: Uint8Array.of(1, 9) }), NOW), JOIN_STALE);
    assert.equal(store.join(write('a', 1, { value: Uint8Array.of(2, 0) }), NOW), JOIN_APPLIED);
    assert.equal(store.join(write('a', 1, { value: Uint8Array.of(9), tombstone: true }), NOW), JOIN_STALE);
    assert.equal(store.clockTies, 3);
    assert.deepEqual(at(store, store.lastRef).value, Uint8Array.of(2, 0));
  });

  test('a read sees live records only, and counts as an access', () => {
    const store = newStore();
    store.join(write('a', NOW, { ttlMs: 1000 }), NOW);
    const ref = store.get(write('a', 0), NOW + 1000);
    assert.equal(ref, store.lastRef);
    assert.equal(store.get(write('a', 0), NOW + 1001), 0);
    assert.ok(store.isExpired(ref, NOW + 1001));
    assert.equal(store.expiryMillis(ref), NOW + 1000);
    const meta = { version: 0, createdS: 0, updatedS: 0, accessedS: 0, hits: 0, costBytes: 0 };
    store.meta(ref, meta);
    assert.deepEqual([meta.hits, meta.accessedS, meta.version], [1, NOW / 1000 + 1, 1]);
    store.join(write('a', NOW + 2000, { tombstone: true, value: new Uint8Array(0), ttlMs: 1 }), NOW);
    assert.equal(store.get(write('a', 0), NOW), 0);
    assert.equal(store.isExpired(store.lastRef, NOW + 9000), false);
    assert.notEqual(store.find(write('a', 0)), 0);
    assert.equal(store.tombstones, 1);
    store.join(write('a', NOW + 3000), NOW);
    assert.equal(store.tombstones, 0);
  });

  test('a write without a clock is stamped strictly after the stored record', () => {
    const store = newStore();
    const stamped = (nowMs: number): number[] => {
      const image = write('a', 0);
      stampAfter(store, image, nowMs);
      assert.equal(store.join(image, nowMs), JOIN_APPLIED);
      return [image.millis, image.counter];
    };
    assert.deepEqual(stamped(100.5), [100, 0]);
    assert.deepEqual(stamped(100), [100, 1]);
    assert.deepEqual(stamped(50), [100, 2]);
    assert.deepEqual(stamped(101), [101, 0]);
    store.join(write('a', 500, { counter: 0xffffffff }), NOW);
    assert.deepEqual(stamped(400), [501, 0]);
  });

  test('in any order of joins the records and the Merkle root are those of the model', () => {
    const writes = fc.array(
      fc.record({
        key: fc.nat(20),
        millis: fc.nat(4),
        counter: fc.nat(2),
        node: fc.nat(2),
        value: fc.nat(3),
        wide: fc.boolean(),
      }),
      { maxLength: 80 },
    );
    fc.assert(
      fc.property(writes, fc.infiniteStream(fc.nat()), (some, numbers) => {
        const images = some.map(({ key, millis, counter, node, value, wide }) => ({
          key: `key-${key}`,
          record: { millis, counter, nodeId: `n${node}`, value: new Uint8Array(wide ? value * 40 : value).fill(value) },
        }));
        const model = new LwwMap();
        for (const { key, record } of images) model.put(key, record);
        const shuffled = images.toSorted(() => ((numbers.next().value ?? 0) % 3) - 1);
        for (const order of [images, shuffled, [...shuffled, ...images]]) {
          const store = newStore();
          for (const { key, record } of order) {
            const { millis, counter, nodeId, value } = record;
            store.join(write(key, millis, { counter, node: bytesOf(nodeId), value, tombstone: value.length === 0 }), NOW);
          }
          const records = all(store).map((record) => [
            textOf(record.key),
            { millis: record.millis, counter: record.counter, nodeId: textOf(record.node), value: record.value },
          ]);
          assert.deepEqual(Object.fromEntries(records), Object.fromEntries(model.records));
          assert.equal(rootOf(store), model.tree().root);
          assert.equal(store.tombstones, [...model.records.values()].filter(({ value }) => value.length === 0).length);
        }
      }),
    );
  });
});

describe('observed remove', () => {
  const add = (key: string, tag: string, value: string): RecordImage =>
    write(key, 5, { tag: bytesOf(tag), value: bytesOf(value) });
  const removal = (key: string, tag: string, millis = 5): RecordImage =>
    write(key, millis, { tag: bytesOf(tag), value: new Uint8Array(0), tombstone: true });

  test('a value never changes, a removed tag never comes back', () => {
    const store = newStore(KIND_OR);
    assert.equal(store.join(add('k', 't', 'v'), NOW), JOIN_APPLIED);
    assert.equal(store.join(write('k', 9, { tag: bytesOf('t'), value: bytesOf('other') }), NOW), JOIN_DUPLICATE);
    assert.equal(textOf(at(store, store.lastRef).value), 'v');
    assert.equal(store.join(removal('k', 't'), NOW), JOIN_APPLIED);
    assert.equal(store.join(removal('k', 't'), NOW), JOIN_DUPLICATE);
    assert.equal(store.join(add('k', 't', 'v'), NOW), JOIN_STALE);
    assert.deepEqual(at(store, store.lastRef).value, new Uint8Array(0));
    assert.deepEqual([store.records, store.tombstones], [1, 1]);
  });

  test('removing an unknown tag keeps a tombstone', () => {
    const store = newStore(KIND_OR);
    assert.equal(store.join(removal('k', 't'), NOW), JOIN_APPLIED);
    assert.equal(store.join(add('k', 't', 'v'), NOW), JOIN_STALE);
    assert.equal(rootOf(store), 0);
  });

  test('a removal without a clock keeps the clock of the record, one with a newer clock brings its own', () => {
    const store = newStore(KIND_OR);
    store.join(add('k', 't', 'v'), NOW);
    store.join(removal('k', 't', 0), NOW);
    assert.equal(at(store, store.lastRef).millis, 5);
    store.join(add('k', 'u', 'v'), NOW);
    store.join(removal('k', 'u', 7), NOW);
    assert.equal(at(store, store.lastRef).millis, 7);
  });

  test('records and Merkle root are those of the model, in any order', () => {
    const steps = fc.array(fc.record({ remove: fc.boolean(), key: fc.nat(8), tag: fc.nat(5), refresh: fc.boolean() }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (some) => {
        const model = new OrMap();
        const [forth, back] = [newStore(KIND_OR), newStore(KIND_OR)];
        const images = some.map(({ remove, key, tag }) => {
          const name = `${key}:${tag}:n`; // a tag belongs to one key
          return remove ? removal(`ключ-${key}`, name) : add(`ключ-${key}`, name, `v${tag}`);
        });
        for (const [index, { remove, key, tag, refresh }] of some.entries()) {
          const image = images[index] as RecordImage;
          if (remove) model.remove(`${key}:${tag}:n`);
          else model.add(`ключ-${key}`, { tag: `${key}:${tag}:n`, value: `v${tag}`, millis: 5, counter: 0, nodeId: 'n' });
          forth.join(image, NOW);
          if (refresh) forth.refreshLeaves();
        }
        for (const image of images.reverse()) back.join(image, NOW);
        for (const store of [forth, back]) {
          const live = all(store).filter(({ tombstone }) => !tombstone);
          const expected = model.keys.flatMap((key) =>
            model.records(key).map((record) => `${key} ${record.tag} ${record.value}`),
          );
          assert.deepEqual(
            live.map((record) => `${textOf(record.key)} ${textOf(record.tag)} ${textOf(record.value)}`).sort(),
            expected.sort(),
          );
          assert.deepEqual(
            new Set(
              all(store)
                .filter(({ tombstone }) => tombstone)
                .map(({ tag }) => textOf(tag)),
            ),
            model.tombstones,
          );
          assert.equal(rootOf(store), model.tree().root);
        }
      }),
    );
  });
});

describe('the record store', () => {
  test('twenty thousand random steps on three partitions leave what a map of records holds', () => {
    const keys = Array.from({ length: 60_000 }, (_, index) => `k-${index}`)
      .filter((key) => [3, 100, 270].includes(partitionOf(fnv1aUtf8(bytesOf(key), 0, key.length))))
      .slice(0, 500);
    const staging = new StagingList();
    const store = newStore(KIND_LWW, staging);
    let model = new LwwMap();
    let state = 1;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let step = 0; step < 20_000; step++) {
      const key = keys[random(keys.length)] as string;
      const value = random(5) === 0 ? new Uint8Array(0) : new Uint8Array(1 + random(300)).fill(step);
      const record = { millis: Math.max(0, step - random(50)), counter: random(3), nodeId: `n${random(3)}`, value };
      const image = write(key, record.millis, {
        counter: record.counter,
        node: bytesOf(record.nodeId),
        value,
        tombstone: value.length === 0,
      });
      assert.equal(store.join(image, NOW) === JOIN_APPLIED, model.put(key, record));
      if (step % 1000 !== 999) continue;
      const kept = new LwwMap();
      for (const [name, old] of model.records) if (old.value.length > 0 || old.millis >= step - 500) kept.put(name, old);
      for (let round = 0; round < 40; round++) store.pruneTombstones(step - 500, 50, NOW);
      model = kept;
      assert.equal(rootOf(store), model.tree().root);
    }
    const found = all(store);
    assert.equal(found.length, model.records.size);
    assert.equal(store.records, model.records.size);
    for (const record of found) assert.deepEqual(record.value, model.records.get(textOf(record.key))?.value);
    const staged = staging.refs.filter((ref) => ref !== 0).map((ref) => textOf(at(store, ref).key));
    assert.deepEqual(staged.sort(), [...model.records.keys()].sort());
    assert.ok(staging.prunedKeys.length > 100);
  });

  test('each record of a leaf is visited once, and only there', () => {
    const store = newStore();
    for (let key = 0; key < 20_000; key++) store.join(write(`key-${key}`, 1), NOW);
    for (let key = 0; key < 20_000; key += 3) store.join(write(`key-${key}`, 2, { value: new Uint8Array(200) }), NOW);
    const seen = new Set<RecordRef>();
    for (let leaf = 0; leaf < LEAVES; leaf++) {
      store.forEachInLeaf(leaf, (ref) => {
        assert.equal(at(store, ref).keyHash >>> 20, leaf);
        assert.ok(!seen.has(ref));
        seen.add(ref);
      });
    }
    assert.equal(seen.size, 20_000);
  });

  test('keys that are not UTF-8 are stored but in no leaf', () => {
    const store = newStore();
    const key = Uint8Array.of(0x61, 0xff);
    const image = (millis: number, bytes: number): RecordImage =>
      write('', millis, { key, keyHash: fnv1aUtf8(key, 0, 2), value: new Uint8Array(bytes) });
    for (const [millis, bytes] of [
      [1, 1],
      [2, 1],
      [3, 500],
    ] as const)
      store.join(image(millis, bytes), NOW);
    assert.equal(at(store, store.find(image(0, 1))).millis, 3);
    assert.equal(rootOf(store), 0);
    store.removePartition(partitionOf(image(0, 1).keyHash));
    assert.equal(store.records, 0);
  });

  test('removing a partition forgets its records and no others', () => {
    const store = newStore();
    const model = new LwwMap();
    for (let key = 0; key < 3000; key++) {
      store.join(write(`key-${key}`, 1), NOW);
      const { keyHash, value } = sample(`key-${key}`);
      if (partitionOf(keyHash) >= 100) model.put(`key-${key}`, { millis: 1, counter: 0, nodeId: 'n', value });
    }
    const inPartition = Array.from({ length: PARTITION_COUNT }, (_, partition) => store.partitionRecords(partition));
    assert.equal(
      inPartition.reduce((sum, records) => sum + records),
      3000,
    );
    for (let partition = 0; partition < 100; partition++) store.removePartition(partition);
    assert.equal(store.records, model.records.size);
    assert.equal(rootOf(store), model.tree().root);
    assert.equal(store.partitionRecords(99), 0);
    assert.equal(all(store).length, model.records.size);
  });

  test('pruning looks at a bounded number of records a call and removes old tombstones only', () => {
    const staging = new StagingList();
    const store = newStore(KIND_LWW, staging);
    for (let key = 0; key < 100; key++) store.join(write(`old-${key}`, 10, { tombstone: true }), NOW);
    for (let key = 0; key < 100; key++) store.join(write(`new-${key}`, 20, { tombstone: true }), NOW);
    for (let key = 0; key < 100; key++) store.join(write(`live-${key}`, 10), NOW);
    assert.ok(store.pruneTombstones(20, 30, NOW) <= 30);
    let calls = 1;
    for (; store.tombstones > 100 && calls < 100; calls++) store.pruneTombstones(20, 30, NOW);
    assert.ok(calls <= 12, `${calls} calls`);
    assert.deepEqual([store.records, store.tombstones], [200, 100]);
    assert.deepEqual(staging.prunedKeys.toSorted(), Array.from({ length: 100 }, (_, key) => `old-${key}`).sort());
    assert.equal(
      store.bytes,
      all(store).reduce((sum, record) => sum + store.costBytes(store.find(imageOf(record))), 0),
    );
  });

  test('restored records are neither staged nor told, but joined by the same rule', () => {
    const staging = new StagingList();
    const told: string[] = [];
    const observer = new CompositeObserver([
      { changed: (store, ref, existed) => void told.push(`a ${textOf(read(store, ref).key)} ${existed}`) },
      { changed: (store, ref) => void told.push(`b ${read(store, ref).millis}`) },
    ]);
    const store = new RecordStore({ map: bytesOf('m'), kind: KIND_LWW, slab: new Slab(), dataStore: staging, observer });
    store.restore(write('x', 5));
    assert.equal(store.restore(write('x', 4)), JOIN_STALE);
    assert.equal(store.restore(write('x', 6)), JOIN_APPLIED);
    assert.deepEqual([staging.stagedRecords, told.length, store.applied, store.records], [0, 0, 0, 1]);
    store.join(write('x', 7), NOW);
    store.join(write('y', 1), NOW);
    assert.deepEqual(told, ['a x true', 'b 7', 'a y false', 'b 1']);
    assert.equal(staging.stagedRecords, 2);
  });
});

function read(store: StagedSource, ref: RecordRef): StoredRecord {
  const image = new RecordImage();
  store.read(ref, image);
  return storedRecord(store.kind, store.map, image);
}
