import assert from 'node:assert/strict';
import test from 'node:test';
import { EngineUnderTest } from '../testing/scanned-ops.ts';
import { addMapStats, MapStatsHandler } from './map-stats-handler.ts';

function put(mapName: string, key: string, value: unknown = 1): object {
  const record = { value, timestamp: { millis: 5, counter: 0, nodeId: 'n' } };
  return { id: '1', mapName, key, opType: 'PUT', record };
}

function add(mapName: string, key: string): object {
  const orRecord = { value: 1, timestamp: { millis: 5, counter: 0, nodeId: 'n' }, tag: `5:0:${key}` };
  return { id: '1', mapName, key, opType: 'OR_ADD', orRecord };
}

test('the maps of several workers are added up by their names: live keys, tags and removals apart', () => {
  const answers = [
    [put('todos', 'a'), put('todos', 'b'), put('todos', 'c', null), add('tags', 'x')],
    [put('todos', 'd'), add('tags', 'y'), add('tags', 'z'), put('größe', 'k')],
  ].map((ops) => {
    const engine = new EngineUnderTest();
    engine.apply(ops, 1000, 0, 7, new Map());
    const [answer] = new MapStatsHandler(engine.maps).answer() as Uint8Array[];
    assert.ok(answer);
    return answer;
  });
  const total = addMapStats(answers);
  assert.deepEqual(
    [...total].map(([name, { entries, tags, tombstones, evicted }]) => [name, entries, tags, tombstones, evicted]),
    [
      ['todos', 3, 0, 1, 0],
      ['tags', 0, 3, 0, 0],
      ['größe', 1, 0, 0, 0],
    ],
  );
  assert.ok([...total.values()].every(({ bytes }) => bytes > 0));
  assert.deepEqual([...addMapStats([])], []);
});
