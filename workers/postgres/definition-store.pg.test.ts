import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GridError } from '../../engine/protocol/errors.ts';
import { PgClient } from './connection.ts';
import { DefinitionStore } from './definition-store.ts';
import { migrate } from './schema.ts';
import { testPostgres } from './test-postgres.ts';

test('the newest version of each definition holds, removals too, and the history has all', async () => {
  const { target } = await testPostgres();
  const client = new PgClient({ target, applicationName: 'test' });
  try {
    await client.run(10_000, migrate);
    const store = new DefinitionStore(client);
    await store.add({ kind: 'schema', name: 'a', version: 1, body: '{"x":1}' }, 'ann');
    await store.add({ kind: 'schema', name: 'a', version: 2, body: '{"x":2}' }, 'bob');
    await store.add({ kind: 'policy', name: 'a', version: 1, body: '[]' }, 'ann');
    await store.add({ kind: 'policy', name: 'a', version: 2, body: undefined }, 'ann');
    const newest = await store.newest();
    assert.deepEqual(
      newest.map(({ changedAtMs, ...definition }) => [definition, (changedAtMs ?? 0) > 1_600_000_000_000]),
      [
        [{ kind: 'policy', name: 'a', version: 2, body: undefined }, true],
        [{ kind: 'schema', name: 'a', version: 2, body: '{"x":2}' }, true],
      ],
    );
    const history = await store.history('schema', 'a');
    assert.deepEqual(
      history.map(({ version, body, changedBy }) => [version, body, changedBy]),
      [
        [2, '{"x":2}', 'bob'],
        [1, '{"x":1}', 'ann'],
      ],
    );
    assert.ok((history[0]?.changedAtMs ?? 0) > 1_600_000_000_000);
    await assert.rejects(
      store.add({ kind: 'schema', name: 'a', version: 2, body: '{}' }, 'eve'),
      (error) => error instanceof GridError && error.code === 'CONFLICT',
    );
  } finally {
    await client.close();
  }
});
