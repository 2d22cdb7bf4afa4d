import assert from 'node:assert/strict';
import test from 'node:test';
import { errorNumber } from '../../protocol/errors.ts';
import { KIND_LWW, KIND_OR } from '../../storage/record.ts';
import { EngineUnderTest, utf8 } from '../testing/scanned-ops.ts';
import { MapSchema, type SchemaMode } from './map-schema.ts';
import { SchemaGuard } from './schema-guard.ts';

const DEFINITION = JSON.stringify({ type: 'object', properties: { n: { type: 'number' } }, required: ['n'] });
const VIOLATION = errorNumber('SCHEMA_VIOLATION');

function guarded(mode: SchemaMode): { engine: EngineUnderTest; violations: () => number } {
  const engine = new EngineUnderTest();
  const map = engine.maps.openByName(utf8('m'));
  assert.ok(map);
  let violations = 0;
  const schema = new MapSchema({ mapName: 'm', mode, version: 1, definition: DEFINITION });
  map.guardWith(
    'schema',
    new SchemaGuard(schema, () => {
      violations += 1;
    }),
  );
  return { engine, violations: () => violations };
}

const TIMESTAMP = { millis: 5, counter: 0, nodeId: 'n' };
const put = (key: string, value: unknown): object => ({
  id: '1',
  mapName: 'm',
  key,
  opType: 'PUT',
  record: { value, timestamp: TIMESTAMP },
});
const add = (key: string, value: unknown): object => ({
  id: '1',
  mapName: 'm',
  key,
  opType: 'OR_ADD',
  orRecord: { value, timestamp: TIMESTAMP, tag: `5:0:${key}` },
});

test('strict refuses what does not fit, of both kinds of maps, and removals pass', () => {
  const { engine, violations } = guarded('strict');
  const rejected = engine.apply([
    put('a', { n: 1 }),
    put('b', { n: 'one' }),
    put('c', null),
    add('d', { n: 2, more: true }),
    add('e', 7),
  ]);
  assert.deepEqual(
    [...rejected],
    [
      [1, VIOLATION],
      [4, VIOLATION],
    ],
  );
  const map = engine.maps.find(utf8('m'));
  assert.deepEqual([map?.existing(KIND_LWW)?.records, map?.existing(KIND_OR)?.records, violations()], [2, 1, 2]);
});

test('warn counts and lets pass, off does not look', () => {
  for (const [mode, counted] of [
    ['warn', 1],
    ['off', 0],
  ] as const) {
    const { engine, violations } = guarded(mode);
    assert.deepEqual([...engine.apply([put('a', 'text')])], []);
    assert.deepEqual([engine.maps.find(utf8('m'))?.existing(KIND_LWW)?.records, violations()], [1, counted]);
  }
});
