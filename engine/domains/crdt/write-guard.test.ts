import assert from 'node:assert/strict';
import test from 'node:test';
import { errorNumber } from '../../protocol/errors.ts';
import { KIND_LWW, KIND_OR, RecordImage } from '../../storage/record.ts';
import { EngineUnderTest, scannedOps, utf8 } from '../testing/scanned-ops.ts';
import { Rejections } from './rejections.ts';
import type { WriteGuard } from './write-guard.ts';

const FORBIDDEN = errorNumber('FORBIDDEN');

/** Refuses writes to keys that begin with `no`, but lets removals pass. */
const NAYSAYER: WriteGuard = {
  refusal: (_kind, image) => {
    const key = new TextDecoder().decode(image.source.slice(image.keyStart, image.keyStart + image.keyBytes));
    if (image.tombstone || !key.startsWith('no')) return undefined;
    return { code: 'FORBIDDEN', detail: `${key} is not welcome` };
  },
};

function put(key: string, millis = 5): object {
  return {
    id: '1',
    mapName: 'm',
    key,
    opType: 'PUT',
    record: { value: 1, timestamp: { millis, counter: 0, nodeId: 'n' } },
  };
}

function guarded(): EngineUnderTest {
  const engine = new EngineUnderTest();
  const map = engine.maps.openByName(utf8('m'));
  assert.ok(map);
  map.guardWith('policy', NAYSAYER);
  return engine;
}

test('a guard refuses ops one by one, with what it says of them; the others of the frame are joined', () => {
  const engine = guarded();
  const { memory, count } = scannedOps([put('yes'), put('no'), put('nobody'), put('also')], new Map());
  const rejections = new Rejections();
  engine.crdt.applyOps(memory, 0, count, 0, 7, 1000, rejections);
  assert.deepEqual(rejections.pairs, [1, FORBIDDEN, 2, FORBIDDEN]);
  assert.deepEqual(
    [...rejections.details],
    [
      [1, 'no is not welcome'],
      [2, 'nobody is not welcome'],
    ],
  );
  assert.equal(engine.maps.find(utf8('m'))?.existing(KIND_LWW)?.records, 2);
  rejections.clear();
  assert.deepEqual([rejections.pairs, [...rejections.details]], [[], []]);
});

test('what a guard says of one op is not said of a later one that is refused for another reason', () => {
  const engine = guarded();
  engine.watermarkMs = 100;
  const { memory, count } = scannedOps([put('no', 200), put('old', 5)], new Map());
  const rejections = new Rejections();
  engine.crdt.applyOps(memory, 0, count, 0, 7, 1000, rejections);
  assert.deepEqual(rejections.pairs, [0, FORBIDDEN, 1, errorNumber('STALE_OPERATION')]);
  assert.deepEqual([...rejections.details.keys()], [0]);
});

test('a refused image that did not come as an op changes nothing and is told to nobody', () => {
  const engine = guarded();
  const map = engine.maps.find(utf8('m'));
  assert.ok(map);
  const image = new RecordImage();
  image.source = utf8('no1:0:a');
  image.keyBytes = 2;
  image.tagStart = 2;
  image.tagBytes = 5;
  image.millis = 1;
  assert.equal(engine.crdt.applyImage(map, image, 0, 7, false, 1000), false);
  assert.equal(map.existing(KIND_OR), undefined);
  assert.deepEqual(engine.takeEvents(), []);
});
