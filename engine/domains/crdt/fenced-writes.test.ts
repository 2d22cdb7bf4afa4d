/** Writes with a fence: admitted only under the newest token of their lock, then merged like any other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorNumber } from '../../protocol/errors.ts';
import { KIND_LWW } from '../../storage/record.ts';
import { EngineUnderTest, utf8 } from '../testing/scanned-ops.ts';

const FENCED = errorNumber('FENCED');
const FENCED_LATE = errorNumber('FENCED_LATE');
const MAP = 'orders';

function put(key: string, value: unknown, millis: number, fence?: object): object {
  const record = { value, timestamp: { millis, counter: 0, nodeId: 'a' } };
  return { id: '1', mapName: MAP, key, opType: 'PUT', record, ...(fence === undefined ? {} : { fence }) };
}

const by = (token: number, lock = 'l'): object => ({ lock, token });
const rejected = (engine: EngineUnderTest, ...ops: object[]): [number, number][] => [...engine.apply(ops)];

test('a fenced write is taken under the newest token and refused under an older one, whatever its clock says', () => {
  const engine = new EngineUnderTest();
  engine.fences.raise('l', 5);
  assert.deepEqual(rejected(engine, put('k', 1, 10, by(5))), []);
  engine.fences.raise('l', 6);
  assert.deepEqual(rejected(engine, put('k', 2, 99, by(5)), put('k', 3, 20, by(6)), put('free', 4, 99)), [[0, FENCED]]);
  assert.equal(engine.takeEvents().length, 3);
  assert.equal(engine.maps.find(utf8(MAP))?.store(KIND_LWW).applied, 3);
});

test('a token of another lock, of a forgotten one, or below the floor admits nothing', () => {
  const engine = new EngineUnderTest();
  engine.fences.raise('l', 5);
  engine.fences.raiseFloor(100);
  assert.deepEqual(rejected(engine, put('k', 1, 10, by(5, 'other')), put('k', 1, 10, by(101, 'other'))), [[0, FENCED]]);
});

test('removals and observed-remove ops are held to their fences too', () => {
  const engine = new EngineUnderTest();
  const timestamp = { millis: 5, counter: 0, nodeId: 'a' };
  const ops = (token: number): object[] => [
    { id: '1', mapName: MAP, key: 'k', opType: 'REMOVE', record: { value: null, timestamp }, fence: by(token) },
    { id: '2', mapName: MAP, key: 'k', opType: 'REMOVE', record: null, fence: by(token) },
    { id: '3', mapName: MAP, key: 't', opType: 'OR_ADD', orRecord: { value: 1, timestamp, tag: '5:0:a' }, fence: by(token) },
    { id: '4', mapName: MAP, key: 't', opType: 'OR_REMOVE', orTag: '5:0:a', fence: by(token) },
  ];
  engine.fences.raise('l', 9);
  assert.deepEqual(
    rejected(engine, ...ops(8)).map(([ordinal]) => ordinal),
    [0, 1, 2, 3],
  );
  assert.deepEqual(engine.takeEvents(), []);
  assert.deepEqual(rejected(engine, ...ops(9)), []);
  assert.equal(engine.takeEvents().length, 4);
});

test('a fenced write that loses by its clock is refused by type, one that is repeated is not', () => {
  const engine = new EngineUnderTest();
  engine.fences.raise('l', 5);
  engine.apply([
    { ...put('k', 1, 0), record: { value: 'from a fast clock', timestamp: { millis: 100, counter: 0, nodeId: 'b' } } },
  ]);
  assert.deepEqual(rejected(engine, put('k', 'late', 50, by(5))), [[0, FENCED_LATE]]);
  assert.deepEqual(rejected(engine, put('k', 'late', 50)), [], 'without a fence losing is success');
  const own = [put('k', 'wins', 200, by(5)), put('k', 'wins again', 201, by(5))];
  assert.deepEqual(rejected(engine, ...own), []);
  assert.deepEqual(rejected(engine, ...own), [], 'the first one lost to a later one of its own writer');
});

test('a write that was taken in before its token grew old is a success when it is sent again', () => {
  const engine = new EngineUnderTest();
  const timestamp = { millis: 5, counter: 0, nodeId: 'a' };
  const add = {
    id: '3',
    mapName: MAP,
    key: 't',
    opType: 'OR_ADD',
    orRecord: { value: 1, timestamp, tag: '5:0:a' },
    fence: by(5),
  };
  const orRemove = { id: '4', mapName: MAP, key: 't', opType: 'OR_REMOVE', orTag: '5:0:a', fence: by(5) };
  engine.fences.raise('l', 5);
  const sent = [put('k', 1, 10, by(5)), add, orRemove];
  assert.deepEqual(rejected(engine, ...sent), []);
  engine.fences.raise('l', 6);
  assert.deepEqual(rejected(engine, ...sent), []);
  assert.deepEqual(rejected(engine, put('k', 2, 11, by(5))), [[0, FENCED]]);
});
