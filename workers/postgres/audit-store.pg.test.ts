import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AuditStore } from './audit-store.ts';
import { PgClient } from './connection.ts';
import { migrate } from './schema.ts';
import { testPostgres } from './test-postgres.ts';

test('what was done by whom is read back newest first, with how it ended, whatever the texts hold', async () => {
  const { target } = await testPostgres();
  const client = new PgClient({ target, applicationName: 'test' });
  try {
    await client.run(10_000, migrate);
    const audit = new AuditStore(client);
    const first = await audit.begin({ subject: 'ann', address: '127.0.0.1', action: 'PUT schema', target: 'todos' });
    const second = await audit.begin({
      subject: 'b\0b',
      address: '::1',
      action: 'DELETE schema',
      target: `x${'y'.repeat(5000)}`,
    });
    await audit.end(first, 'done');
    const entries = await audit.read(10);
    assert.deepEqual(
      entries.map(({ id, subject, action, outcome }) => [id, subject, action, outcome]),
      [
        [second, 'b\ufffdb', 'DELETE schema', 'begun'],
        [first, 'ann', 'PUT schema', 'done'],
      ],
    );
    assert.equal(entries[0]?.target.length, 1024);
    assert.deepEqual(
      (await audit.read(10, second)).map(({ id }) => id),
      [first],
    );
    assert.equal((await audit.read(1)).length, 1);
  } finally {
    await client.close();
  }
});
