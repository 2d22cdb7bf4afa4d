import assert from 'node:assert/strict';
import test from 'node:test';
import { type Definition, Definitions } from './definitions.ts';

function schema(name: string, version: number, body: string | undefined = '{}'): Definition {
  return { kind: 'schema', name, version, body };
}

test('who watches a kind hears of what is there, and then of each change of that kind', () => {
  const definitions = new Definitions([schema('a', 2), { kind: 'schema', name: 'gone', version: 3, body: undefined }]);
  const heard: string[] = [];
  definitions.watch('schema', ({ name, version, body }) => heard.push(`${name} ${version} ${body}`));
  definitions.apply(schema('b', 1));
  definitions.apply({ kind: 'index', name: 'b', version: 1, body: '{}' });
  definitions.apply({ kind: 'schema', name: 'a', version: 3, body: undefined });
  assert.deepEqual(heard, ['a 2 {}', 'b 1 {}', 'a 3 undefined']);
  assert.deepEqual(
    definitions.of('schema').map(({ name }) => name),
    ['b'],
  );
});

test('changes that come late or twice do not undo newer ones', () => {
  const definitions = new Definitions();
  let heard = 0;
  definitions.watch('schema', () => {
    heard += 1;
  });
  definitions.apply(schema('a', 3, '3'));
  definitions.apply(schema('a', 2, '2'));
  definitions.apply(schema('a', 3, 'other'));
  assert.deepEqual([definitions.newest('schema', 'a')?.body, heard], ['3', 1]);
});

test('a removed definition is remembered by its version, and that there ever was one', () => {
  const definitions = new Definitions();
  assert.equal(definitions.everHad('policy'), false);
  definitions.apply({ kind: 'policy', name: 'p', version: 1, body: '{}' });
  definitions.apply({ kind: 'policy', name: 'p', version: 2, body: undefined });
  assert.deepEqual(
    [definitions.of('policy'), definitions.everHad('policy'), definitions.newest('policy', 'p')?.version],
    [[], true, 2],
  );
  assert.deepEqual(new Definitions(definitions.all()).everHad('policy'), true);
});
