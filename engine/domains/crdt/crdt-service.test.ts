import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { LwwMap, OrMap } from '../../crdt/model.ts';
import { alikeKeys } from '../../partition/testing/alike-keys.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { errorNumber } from '../../protocol/errors.ts';
import { KIND_LWW, KIND_OR, RecordImage } from '../../storage/record.ts';
import { ALIKE_MAX } from '../../storage/record-store.ts';
import { EngineUnderTest, NODE_ID, plain, utf8 } from '../testing/scanned-ops.ts';

const MAP = 'todos';

interface Stamp {
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
}

function put(key: string, value: unknown, timestamp: Stamp, ttlMs?: number): object {
  return { id: '1', mapName: MAP, opType: 'PUT', key, record: { value, timestamp, ...(ttlMs === undefined ? {} : { ttlMs }) } };
}

function remove(key: string, timestamp: Stamp): object {
  return { id: '1', mapName: MAP, opType: 'REMOVE', key, record: { value: null, timestamp } };
}

function tagOf({ millis, counter, nodeId }: Stamp): string {
  return `${millis}:${counter}:${nodeId}`;
}

function add(key: string, value: unknown, timestamp: Stamp): object {
  return { id: '1', mapName: MAP, opType: 'OR_ADD', key, orRecord: { value, timestamp, tag: tagOf(timestamp) } };
}

function orRemove(key: string, tag: string): object {
  return { id: '1', mapName: MAP, opType: 'OR_REMOVE', key, orTag: tag };
}

function bytes(engine: EngineUnderTest, kind: 0 | 1, key: string): unknown {
  const store = engine.maps.find(utf8(MAP))?.existing(kind);
  const image = new RecordImage();
  const cursor = store?.cursor();
  for (let ref = cursor?.next() ?? 0; ref !== 0; ref = cursor?.next() ?? 0) {
    store?.read(ref, image);
    const found = new TextDecoder().decode(image.source.slice(image.keyStart, image.keyStart + image.keyBytes));
    if (found !== key) continue;
    const value =
      image.valueBytes === 0 ? null : plain(decode(image.source, image.valueStart, image.valueStart + image.valueBytes));
    return { value, millis: image.millis, counter: image.counter, tombstone: image.tombstone };
  }
  return undefined;
}

const arbitraryStamp = fc.record({
  millis: fc.integer({ min: 1, max: 6 }),
  counter: fc.integer({ min: 0, max: 2 }),
  nodeId: fc.constantFrom('a', 'b', 'ab', 'é'),
});
const arbitraryKey = fc.constantFrom('k1', 'k2', 'schlüssel', '日本', '😀');

/** Frames of ops, cut anywhere, so that they are merged in batches of any size. */
function inFrames<Op>(ops: fc.Arbitrary<Op>): fc.Arbitrary<Op[][]> {
  return fc.array(fc.array(ops, { maxLength: 8 }), { maxLength: 8 });
}

test('LWW writes in any order, repeated or not, end where the model ends', () => {
  const op = fc.record({ key: arbitraryKey, value: fc.constantFrom(null, 0, 'x', 'y', [1]), timestamp: arbitraryStamp });
  fc.assert(
    fc.property(inFrames(op), (frames) => {
      const engine = new EngineUnderTest();
      const model = new LwwMap();
      for (const frame of frames) {
        const rejected = engine.apply(frame.map(({ key, value, timestamp }) => put(key, value, timestamp)));
        assert.equal(rejected.size, 0);
        for (const { key, value, timestamp } of frame)
          model.put(key, { ...timestamp, value: value === null ? new Uint8Array(0) : encode(value).slice() });
      }
      for (const [key, record] of model.records) {
        assert.deepEqual(bytes(engine, KIND_LWW, key), {
          value: record.value.length === 0 ? null : plain(decode(record.value)),
          millis: record.millis,
          counter: record.counter,
          tombstone: record.value.length === 0,
        });
      }
      assert.equal(engine.maps.find(utf8(MAP))?.existing(KIND_LWW)?.records ?? 0, model.records.size);
    }),
  );
});

test('OR writes in any order, repeated or not, end where the model ends', () => {
  const op = fc.record({ key: arbitraryKey, timestamp: arbitraryStamp, removes: fc.boolean() });
  fc.assert(
    fc.property(inFrames(op), (frames) => {
      const engine = new EngineUnderTest();
      const model = new OrMap();
      // A tag belongs to one key: the first one that names it.
      const keyOfTag = new Map<string, string>();
      for (const frame of frames) {
        const ops = frame.map(({ key: wanted, timestamp, removes }) => {
          const tag = tagOf(timestamp);
          const key = keyOfTag.get(tag) ?? wanted;
          keyOfTag.set(tag, key);
          if (removes) model.remove(tag);
          else model.add(key, { tag, value: tag, ...timestamp });
          return removes ? orRemove(key, tag) : add(key, tag, timestamp);
        });
        assert.equal(engine.apply(ops).size, 0);
      }
      const store = engine.maps.find(utf8(MAP))?.existing(KIND_OR);
      const live = [...new Set(keyOfTag.values())].flatMap((key) => model.records(key));
      assert.equal((store?.records ?? 0) - (store?.tombstones ?? 0), live.length);
      assert.equal(store?.tombstones ?? 0, model.tombstones.size);
    }),
  );
});

test('an event is made for each change and for nothing else, in the order of the changes', () => {
  const engine = new EngineUnderTest({ listeners: [2] });
  const newer = { millis: 20, counter: 0, nodeId: 'n' };
  const older = { millis: 10, counter: 0, nodeId: 'n' };
  engine.apply([put('k', 1, newer, 500), put('k', 2, older), put('k', 1, newer), remove('k', { ...newer, counter: 1 })]);
  assert.deepEqual(
    engine.takeEvents().map(({ event }) => event),
    [
      { mapName: MAP, eventType: 'PUT', key: 'k', record: { value: 1, timestamp: newer, ttlMs: 500 } },
      { mapName: MAP, eventType: 'REMOVE', key: 'k', record: { value: null, timestamp: { ...newer, counter: 1 } } },
    ],
  );
  engine.apply([add('s', 'v', older), add('s', 'v', older), orRemove('s', tagOf(older)), add('s', 'v', older)]);
  assert.deepEqual(
    engine.takeEvents().map(({ event }) => event),
    [
      { mapName: MAP, eventType: 'OR_ADD', key: 's', orRecord: { value: 'v', timestamp: older, tag: tagOf(older) } },
      { mapName: MAP, eventType: 'OR_REMOVE', key: 's', orTag: tagOf(older) },
    ],
  );
});

test('a write without a clock wins, stamped by the server strictly after what is stored', () => {
  const engine = new EngineUnderTest();
  const nowMs = 1000;
  engine.apply([{ mapName: MAP, key: 'fresh', opType: 'REMOVE', record: null }], nowMs);
  assert.deepEqual(engine.takeEvents()[0]?.event, {
    mapName: MAP,
    eventType: 'REMOVE',
    key: 'fresh',
    record: { value: null, timestamp: { millis: nowMs, counter: 0, nodeId: NODE_ID } },
  });
  engine.apply([put('k', 1, { millis: 5000, counter: 3, nodeId: 'zz' })], nowMs);
  engine.takeEvents();
  engine.apply([{ mapName: MAP, key: 'k', opType: 'REMOVE', record: null }], nowMs);
  assert.deepEqual(engine.takeEvents()[0]?.event, {
    mapName: MAP,
    eventType: 'REMOVE',
    key: 'k',
    record: { value: null, timestamp: { millis: 5000, counter: 4, nodeId: NODE_ID } },
  });
});

test('a put without a record is handled and stores nothing', () => {
  const engine = new EngineUnderTest();
  assert.equal(engine.apply([{ id: '1', mapName: MAP, key: 'k', opType: 'PUT' }]).size, 0);
  assert.equal(bytes(engine, KIND_LWW, 'k'), undefined);
});

test('a write older than the watermark is refused where its key is absent, and joined where it is not', () => {
  const engine = new EngineUnderTest();
  engine.apply([put('there', 'new', { millis: 900, counter: 0, nodeId: 'n' })]);
  engine.watermarkMs = 500;
  const old = { millis: 499, counter: 0, nodeId: 'n' };
  const rejected = engine.apply([put('absent', 1, old), put('there', 1, old), put('edge', 1, { ...old, millis: 500 })]);
  assert.deepEqual([...rejected], [[0, errorNumber('STALE_OPERATION')]]);
  assert.deepEqual(engine.staleKeys, ['absent']);
  assert.deepEqual(bytes(engine, KIND_LWW, 'there'), { value: 'new', millis: 900, counter: 0, tombstone: false });
  assert.notEqual(bytes(engine, KIND_LWW, 'edge'), undefined);
});

test('maps beyond the bound are refused op by op', () => {
  const engine = new EngineUnderTest({ mapsMax: 1 });
  const stamp = { millis: 1, counter: 0, nodeId: 'n' };
  const other = { ...put('k', 1, stamp), mapName: 'second' };
  assert.deepEqual([...engine.apply([put('k', 1, stamp), other, put('l', 1, stamp)])], [[1, errorNumber('TOO_MANY_MAPS')]]);
});

test('an add whose tag somebody removed before stays away', () => {
  const engine = new EngineUnderTest();
  const stamp = { millis: 5, counter: 0, nodeId: 'n' };
  const map = engine.maps.openByName(utf8(MAP));
  map?.orphans.add(tagOf(stamp), utf8(tagOf(stamp)));
  engine.apply([add('k', 'late', stamp), add('l', 'other', { ...stamp, counter: 1 })]);
  assert.deepEqual(
    engine.takeEvents().map(({ origin, event }) => [origin, event]),
    [
      [0, { mapName: MAP, eventType: 'OR_REMOVE', key: 'k', orTag: tagOf(stamp) }], // the writer is told as well
      [
        7,
        {
          mapName: MAP,
          eventType: 'OR_ADD',
          key: 'l',
          orRecord: { value: 'other', timestamp: { ...stamp, counter: 1 }, tag: tagOf({ ...stamp, counter: 1 }) },
        },
      ],
    ],
  );
  assert.equal((bytes(engine, KIND_OR, 'k') as { tombstone: boolean }).tombstone, true);
});

test('a removal is as new as the server, or as its tag where that is newer', () => {
  const engine = new EngineUnderTest();
  const nowMs = 9_000_000;
  engine.apply([orRemove('k', '77:3:n'), orRemove('l', 'no clock'), orRemove('m', '99999999999999999999:0:n')], nowMs);
  engine.apply([orRemove('ahead', '9000001:3:n')], nowMs);
  const millisOf = (key: string) => (bytes(engine, KIND_OR, key) as { millis: number }).millis;
  assert.deepEqual(['k', 'l', 'm', 'ahead'].map(millisOf), [nowMs, nowMs, nowMs, 9_000_001]);
});

test('of new keys that were made to have one hash so many are taken and no more; those that are there are written on', () => {
  const engine = new EngineUnderTest();
  const keys = alikeKeys(8);
  const puts = (millis: number): object[] => keys.map((key) => put(key, millis, { millis, counter: 0, nodeId: 'a' }));
  const refused = Array.from({ length: keys.length - ALIKE_MAX }, (_, index) => [ALIKE_MAX + index, errorNumber('KEYS_ALIKE')]);
  assert.deepEqual([...engine.apply(puts(10))], refused);
  assert.deepEqual([...engine.apply(puts(20))], refused);
  assert.deepEqual([...engine.apply([put('another', 1, { millis: 1, counter: 0, nodeId: 'a' })])], []);
  const store = engine.maps.find(utf8(MAP))?.existing(KIND_LWW);
  assert.deepEqual([store?.records, store?.applied], [ALIKE_MAX + 1, 2 * ALIKE_MAX + 1]);
});

test('of adds under such keys whose tag was removed before they came so many become removals, and no more are acknowledged', () => {
  const engine = new EngineUnderTest();
  const stamp = { millis: 10, counter: 0, nodeId: 'a' };
  engine.maps.openByName(utf8(MAP))?.orphans.add(tagOf(stamp), utf8(tagOf(stamp)));
  const keys = alikeKeys(8);
  const refused = Array.from({ length: keys.length - ALIKE_MAX }, (_, index) => [ALIKE_MAX + index, errorNumber('KEYS_ALIKE')]);
  assert.deepEqual([...engine.apply(keys.map((key) => add(key, 1, stamp)))], refused);
  const store = engine.maps.find(utf8(MAP))?.existing(KIND_OR);
  assert.deepEqual([store?.records, store?.tombstones], [ALIKE_MAX, ALIKE_MAX]);
});
