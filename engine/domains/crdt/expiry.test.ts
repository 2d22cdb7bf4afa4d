import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RequestAnswer } from '../../operation/request-handler.ts';
import { atOnce } from '../testing/at-once.ts';
import { fnv1a } from '../../partition/hash.ts';
import { decode } from '../../protocol/codec.ts';
import { NullDataStore } from '../../storage/null-data-store.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { MapDataStore, StagedSource } from '../../storage/map-data-store.ts';
import { EngineUnderTest, plain, utf8 } from '../testing/scanned-ops.ts';
import { SLICE_RECORDS_MAX } from './expiry.ts';

const MAP = 'm';
const T0 = 1_000_000;

/** Keeps what was changed, as the log and write-behind do. */
class ChangedRecords extends NullDataStore implements MapDataStore {
  readonly changes: string[] = [];

  override readonly changed = (store?: StagedSource, ref = 0): void => {
    assert.ok(store !== undefined);
    const image = new RecordImage();
    store.read(ref, image);
    const key = new TextDecoder().decode(image.source.subarray(image.keyStart, image.keyStart + image.keyBytes));
    this.changes.push(`${key} ${image.tombstone ? 'removed' : 'written'} ${image.millis}`);
  };
}

/** An engine with a clock of its own. */
class Node {
  nowMs = T0;
  mayWrite = true;
  readonly changed = new ChangedRecords();
  readonly engine = new EngineUnderTest({
    nowMs: () => this.nowMs,
    mayWrite: () => this.mayWrite,
    dataStore: this.changed,
    listeners: [2],
  });

  write(key: string, ttlMs: number | undefined, millis = this.nowMs, value: unknown = 1): void {
    const record = { value, timestamp: { millis, counter: 0, nodeId: 'n' }, ...(ttlMs === undefined ? {} : { ttlMs }) };
    this.engine.apply([{ mapName: MAP, key, opType: 'PUT', record }], this.nowMs);
  }

  add(key: string, millis: number, ttlMs: number): void {
    const timestamp = { millis, counter: 0, nodeId: 'n' };
    const orRecord = { value: millis, timestamp, tag: `${millis}:0:n`, ttlMs };
    this.engine.apply([{ mapName: MAP, key, opType: 'OR_ADD', orRecord }], this.nowMs);
  }

  store(kind: RecordKind = KIND_LWW): RecordStore {
    const store = this.engine.maps.find(utf8(MAP))?.existing(kind);
    assert.ok(store !== undefined);
    return store;
  }

  /** Lets time pass, without a slice. */
  pass(ms: number): void {
    this.nowMs += ms;
  }

  expire(): 'done' | 'more' {
    return this.engine.expiry.run(this.nowMs);
  }

  /** What a client is told of the leaf of `key`. */
  leaf(key: string, kind: RecordKind = KIND_LWW): unknown[] {
    return items(this.engine.sync.leaf(utf8(MAP), kind, fnv1a(key).toString(16).padStart(8, '0').slice(0, 3)));
  }

  sums(kind: RecordKind = KIND_LWW): unknown {
    return [...new Uint32Array(this.engine.sync.leaves(utf8(MAP), kind, '').buffer)].slice(2);
  }
}

function items(parts: RequestAnswer): unknown[] {
  return atOnce(parts).flatMap((part) => {
    const count = new DataView(part.buffer, part.byteOffset).getUint32(0, true);
    const list = plain(decode(Buffer.concat([Uint8Array.of(0xdc, count >>> 8, count & 0xff), part.subarray(4)])));
    assert.ok(Array.isArray(list));
    return list;
  });
}

function stamp(millis: number): object {
  return { millis, counter: 0, nodeId: 'n' };
}

describe('a slice', () => {
  test('tells every session of the removal, once, and has it stored like a write', () => {
    const node = new Node();
    node.write('k', 50);
    node.write('lasting', undefined);
    node.engine.takeEvents();
    node.pass(50);
    assert.equal(node.expire(), 'done');
    assert.deepEqual(node.engine.takeEvents(), []);
    node.pass(1);
    assert.equal(node.expire(), 'done');
    const record = { value: null, timestamp: stamp(T0 + 50) };
    assert.deepEqual(node.engine.takeEvents(), [
      { origin: 0, mapId: 1, event: { mapName: MAP, eventType: 'REMOVE', key: 'k', record } },
    ]);
    assert.deepEqual(node.changed.changes, [`k written ${T0}`, `lasting written ${T0}`, `k removed ${T0 + 50}`]);
    node.pass(1e6);
    node.expire();
    assert.deepEqual(node.engine.takeEvents(), []);
    assert.equal(node.engine.expiry.expired, 1);
  });

  test('removes each tag of an OR-Map for itself', () => {
    const node = new Node();
    node.add('k', T0 - 2, 50);
    node.add('k', T0 - 1, 500);
    node.engine.takeEvents();
    node.pass(100);
    node.expire();
    assert.deepEqual(
      node.engine.takeEvents().map(({ origin, event }) => [origin, event]),
      [[0, { mapName: MAP, eventType: 'OR_REMOVE', key: 'k', orTag: `${T0 - 2}:0:n` }]],
    );
    node.add('k', T0 - 2, 50); // sent again
    assert.deepEqual(node.engine.takeEvents(), []);
  });

  test('lets a later write win that was made offline, and the expired one lose when it is sent again', () => {
    const node = new Node();
    node.write('k', 50, T0);
    node.pass(5000);
    node.expire();
    node.engine.takeEvents();
    node.write('k', 50, T0);
    assert.deepEqual(node.engine.takeEvents(), []);
    node.write('k', undefined, T0 + 60, 'offline');
    const record = { value: 'offline', timestamp: stamp(T0 + 60) };
    assert.deepEqual(node.engine.takeEvents()[0]?.event, { mapName: MAP, eventType: 'PUT', key: 'k', record });
    node.pass(1e6);
    node.expire();
    assert.deepEqual(node.leaf('k'), [{ key: 'k', record }]);
  });

  test('does nothing while writes are refused, and catches up afterwards', () => {
    const node = new Node();
    node.write('k', 50);
    node.pass(100);
    node.mayWrite = false;
    node.expire();
    assert.equal(node.store().tombstones, 0);
    assert.equal(node.store().isExpired(node.store().find(keyImage('k')), node.nowMs), true);
    assert.deepEqual(node.leaf('k'), [{ key: 'k', record: { value: null, timestamp: stamp(T0 + 50) } }]);
    node.mayWrite = true;
    node.expire();
    assert.equal(node.store().tombstones, 1);
  });

  test('takes up to a thousand of two hundred thousand records that expire at once, and asks for more', () => {
    const node = new Node();
    const store = node.engine.maps.openByName(utf8(MAP))?.store(KIND_LWW);
    assert.ok(store !== undefined);
    for (let index = 0; index < 200_000; index++) store.join(keyImage(`key-${index}`, T0, 50), T0);
    node.pass(51);
    for (let slice = 0; slice < 200; slice++) {
      assert.equal(node.expire(), 'more');
      assert.equal(store.tombstones, (slice + 1) * SLICE_RECORDS_MAX);
      if (slice === 0) assert.equal(node.engine.takeEvents().length, SLICE_RECORDS_MAX);
      else node.engine.changes.batches[0]?.clear();
    }
    assert.equal(node.expire(), 'done');
    assert.deepEqual([node.engine.expiry.expired, node.engine.expiry.entries], [200_000, 0]);
  });

  test('ends when its time is over, and goes on at the next', () => {
    const node = new Node();
    for (let index = 0; index < 500; index++) node.write(`key-${index}`, 50);
    node.pass(60);
    const startedMs = node.nowMs;
    assert.equal(node.engine.expiry.run(startedMs - 2, 1), 'more'); // the clock is past the end at the first look
    assert.ok(node.store().tombstones > 0 && node.store().tombstones < 100, `${node.store().tombstones}`);
    assert.equal(node.engine.expiry.run(startedMs, 10), 'done');
    assert.equal(node.store().tombstones, 500);
  });

  test('is not filled by refreshed records: their entries are looked at and put back, a bounded number', () => {
    const node = new Node();
    for (let index = 0; index < 6000; index++) node.write(`key-${index}`, 50);
    node.pass(10);
    for (let index = 0; index < 6000; index++) node.write(`key-${index}`, 5000);
    node.pass(50);
    assert.deepEqual([node.expire(), node.expire()], ['more', 'done']);
    assert.deepEqual([node.store().tombstones, node.engine.expiry.entries], [0, 6000]);
  });
});

describe('an answer to a sync question', () => {
  test('expires what is due before', () => {
    const node = new Node();
    node.write('k', 50);
    node.pass(51);
    assert.deepEqual(node.leaf('k'), [{ key: 'k', record: { value: null, timestamp: stamp(T0 + 50) } }]);
    assert.equal(node.store().tombstones, 1);
    assert.equal(node.engine.takeEvents().length, 2);
  });

  test('shows what no slice has reached as the removal that it will be: records, entries and diffs', () => {
    const node = new Node();
    node.write('k', 50);
    node.add('k', T0, 60);
    node.add('k', T0 + 1, 6000);
    node.pass(100);
    node.mayWrite = false; // so nothing is expired
    const sums = [node.sums(), node.sums(KIND_OR)];
    const told = [node.leaf('k'), node.leaf('k', KIND_OR), items(node.engine.sync.orDiff(utf8(MAP), ['k']))];
    assert.deepEqual([node.store().tombstones, node.store(KIND_OR).tombstones], [0, 0]);
    const kept = { value: T0 + 1, timestamp: stamp(T0 + 1), tag: `${T0 + 1}:0:n`, ttlMs: 6000 };
    assert.deepEqual(told[0], [{ key: 'k', record: { value: null, timestamp: stamp(T0 + 50) } }]);
    assert.deepEqual(told[1], [{ key: 'k', records: [kept], tombstones: [`${T0}:0:n`] }]);
    assert.deepEqual(told[2], told[1]);
    node.mayWrite = true;
    assert.equal(node.expire(), 'done');
    assert.deepEqual([node.leaf('k'), node.leaf('k', KIND_OR)], [told[0], told[1]]); // as it was told before
    assert.notDeepEqual(node.sums(), sums[0]); // the sums contained the expired records until now
    assert.notDeepEqual(node.sums(KIND_OR), sums[1]);
  });

  test('corrects a client that pushes an expired tag', () => {
    const node = new Node();
    node.add('k', T0, 50);
    node.pass(100);
    const record = { tag: `${T0}:0:n`, value: T0, millis: T0, counter: 0, nodeId: 'n', ttlMs: 50 };
    for (const mayWrite of [false, true]) {
      node.mayWrite = mayWrite;
      const entries = [{ key: 'k', records: [record] }];
      const push = { map: utf8(MAP), entries, tombstones: [], gateway: 0, session: 7, writerListens: false };
      assert.deepEqual(items(node.engine.sync.orPush(push, node.nowMs)), [{ key: 'k', records: [], tombstones: [`${T0}:0:n`] }]);
    }
  });

  test('of two nodes, of which one expired earlier, is the same in the end', () => {
    const [early, late] = [new Node(), new Node()];
    for (const node of [early, late]) {
      for (let index = 0; index < 50; index++) {
        node.write(`key-${index}`, index, T0);
        node.add(`key-${index}`, T0 + index, index);
      }
    }
    for (let step = 0; step < 100; step++) {
      early.pass(1);
      early.expire();
    }
    late.pass(12_345);
    for (const kind of [KIND_LWW, KIND_OR] as const) {
      assert.deepEqual(early.sums(kind), late.sums(kind));
      assert.deepEqual(early.leaf('key-7', kind), late.leaf('key-7', kind));
    }
    assert.deepEqual([early.store().tombstones, late.store().tombstones], [50, 50]);
  });
});

function keyImage(key: string, millis = 0, ttlMs = Number.NaN): RecordImage {
  const image = new RecordImage();
  const bytes = utf8(`${key}n\u0001`);
  image.source = bytes;
  image.keyHash = fnv1a(key);
  image.keyBytes = key.length;
  image.nodeStart = key.length;
  image.nodeBytes = 1;
  image.valueStart = key.length + 1;
  image.valueBytes = 1;
  image.millis = millis;
  image.ttlMs = ttlMs;
  return image;
}
