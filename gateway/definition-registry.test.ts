import assert from 'node:assert/strict';
import test from 'node:test';
import type { Definition } from '../engine/operation/definitions.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { DefinitionRegistry, type DefinitionWish } from './definition-registry.ts';

function wish(name: string, body: string | undefined, replaces?: number): DefinitionWish {
  return { kind: 'schema', name, body, replaces, changedBy: 'ann' };
}

function refused(code: string): (error: unknown) => boolean {
  return (error) => error instanceof GridError && error.code === code;
}

test('each change has the next version, is told to the others, and is in the history', async () => {
  const told: Definition[] = [];
  const registry = await DefinitionRegistry.open(undefined, (definition) => told.push(definition));
  await Promise.all([registry.change(wish('a', '1')), registry.change(wish('a', '2')), registry.change(wish('a', undefined))]);
  assert.deepEqual(
    told.map(({ version, body }) => [version, body]),
    [
      [1, '1'],
      [2, '2'],
      [3, undefined],
    ],
  );
  assert.equal((await registry.change(wish('a', '4', 0))).version, 4);
  assert.deepEqual(
    (await registry.history('schema', 'a')).map(({ version, changedBy }) => [version, changedBy]),
    [
      [4, 'ann'],
      [3, 'ann'],
      [2, 'ann'],
      [1, 'ann'],
    ],
  );
});

test('a change of another version than the one there is refused, and changes nothing', async () => {
  const told: Definition[] = [];
  const registry = await DefinitionRegistry.open(undefined, (definition) => told.push(definition));
  await registry.change(wish('a', '1', 0));
  await assert.rejects(registry.change(wish('a', '2', 0)), refused('CONFLICT'));
  await assert.rejects(registry.change(wish('a', '2', 2)), refused('CONFLICT'));
  await assert.rejects(registry.change(wish('b', undefined)), refused('NOT_FOUND'));
  await assert.rejects(registry.change(wish('', '1')), refused('BAD_REQUEST'));
  await assert.rejects(registry.change(wish('c', 'x'.repeat(300_000))), refused('BAD_REQUEST'));
  assert.equal((await registry.change(wish('a', '2', 1))).version, 2);
  assert.equal(told.length, 2);
});
