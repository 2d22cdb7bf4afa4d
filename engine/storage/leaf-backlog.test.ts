import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { foldRoot } from '../crdt/merkle-tree.ts';
import { LwwMap } from '../crdt/model.ts';
import { fnv1aUtf8 } from '../partition/hash.ts';
import { encodeText } from '../protocol/wire-text.ts';
import { LeafBacklog } from './leaf-backlog.ts';
import { NullDataStore } from './null-data-store.ts';
import { KIND_LWW, type RecordImage } from './record.ts';
import { RecordStore } from './record-store.ts';
import { Slab } from './slab.ts';
import { imageOf } from './stored-record.ts';

const NODE = encodeText('node-a');

function write(key: string, millis: number, valueBytes: number): RecordImage {
  const keyBytes = encodeText(key);
  return imageOf({
    kind: KIND_LWW,
    map: encodeText('m'),
    keyHash: fnv1aUtf8(keyBytes, 0, keyBytes.length),
    key: keyBytes,
    tag: new Uint8Array(0),
    node: NODE,
    value: new Uint8Array(valueBytes).fill(1),
    millis,
    counter: 0,
    ttlMs: Number.NaN,
    tombstone: valueBytes === 0,
  });
}

function rootOf(store: RecordStore): number {
  const sums = new Uint32Array(4096);
  store.copyLeafSums(sums);
  return foldRoot(sums);
}

function newStores(recordsMax: number): { backlog: LeafBacklog; stores: RecordStore[] } {
  const slab = new Slab();
  const backlog = new LeafBacklog(slab, recordsMax);
  const stores = ['m', 'n'].map(
    (map) => new RecordStore({ map: encodeText(map), kind: KIND_LWW, slab, backlog, dataStore: new NullDataStore() }),
  );
  return { backlog, stores };
}

test('the root is the client’s, however small the backlog is, also when records move and are pruned', () => {
  const step = fc.record({ store: fc.nat(1), key: fc.nat(12), valueBytes: fc.constantFrom(0, 3, 40, 400), prune: fc.nat(30) });
  fc.assert(
    fc.property(fc.constantFrom(1, 2, 8, 1024), fc.array(step, { maxLength: 120 }), (recordsMax, steps) => {
      const { backlog, stores } = newStores(recordsMax);
      const models = [new LwwMap(), new LwwMap()];
      steps.forEach(({ store, key, valueBytes, prune }, index) => {
        const millis = 1000 + index;
        stores[store]?.join(write(`k${key}`, millis, valueBytes), millis);
        const model = models[store];
        model?.put(`k${key}`, { value: new Uint8Array(valueBytes).fill(1), millis, counter: 0, nodeId: 'node-a' });
        if (prune !== 0) return;
        stores[store]?.pruneTombstones(millis + 1, 1000, millis);
        for (const [name, record] of [...(model?.records ?? [])]) if (record.value.length === 0) model?.prune(name);
      });
      assert.ok(backlog.records <= recordsMax);
      stores.forEach((store, index) => {
        assert.equal(rootOf(store), models[index]?.tree().root);
      });
      assert.equal(backlog.records, 0);
    }),
  );
});

test('a record that is written again waits once', () => {
  const { backlog, stores } = newStores(16);
  for (let millis = 1; millis <= 10; millis++) stores[0]?.join(write('k', millis, 8), millis);
  assert.equal(backlog.records, 1);
});

test('a few are hashed at a time, the oldest first', () => {
  const { backlog, stores } = newStores(16);
  for (let key = 0; key < 5; key++) stores[0]?.join(write(`k${key}`, 1, 8), 1);
  backlog.hash(2);
  assert.equal(backlog.records, 3);
  const sums = new Uint32Array(4096);
  stores[0]?.leaves.copySums(sums);
  const leaves = ['k0', 'k1', 'k2'].map((key) => fnv1aUtf8(encodeText(key), 0, 2) >>> 20);
  assert.deepEqual(
    leaves.map((leaf) => sums[leaf] !== 0),
    [true, true, false],
  );
});

test('what finds no room is hashed as it is written', () => {
  const { backlog, stores } = newStores(2);
  for (let key = 0; key < 3; key++) stores[0]?.join(write(`k${key}`, 1, 8), 1);
  assert.equal(backlog.records, 2);
  const sums = new Uint32Array(4096);
  stores[0]?.leaves.copySums(sums);
  const leaves = ['k0', 'k1', 'k2'].map((key) => fnv1aUtf8(encodeText(key), 0, 2) >>> 20);
  assert.deepEqual(
    leaves.map((leaf) => sums[leaf] !== 0),
    [false, false, true],
  );
});
