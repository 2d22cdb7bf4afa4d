/** The guards in SQL against the guards in memory: random batches, any order, the same rows at the end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DataStore } from '../../engine/storage/data-store.ts';
import { PARTITION_COUNT } from '../../engine/partition/hash.ts';
import { MemoryDataStore } from '../../engine/storage/memory-data-store.ts';
import { KIND_LWW, KIND_OR } from '../../engine/storage/record.ts';
import { identityOf, imageOf, type StoredRecord, recordOf, storedRecord } from '../../engine/storage/stored-record.ts';
import { PgClient } from './connection.ts';
import { PostgresDataStore } from './postgres-data-store.ts';
import { migrate } from './schema.ts';
import { testPostgres } from './test-postgres.ts';

interface Write {
  readonly record: StoredRecord;
  readonly prune: boolean;
}

/** Few keys, clocks and values, so that every guard is met often. An OR tag always comes with the same clock. */
const writeArbitrary: fc.Arbitrary<Write> = fc
  .record({
    or: fc.boolean(),
    key: fc.constantFrom('a', 'b', 'c'),
    tag: fc.constantFrom('t', 'u'),
    millis: fc.integer({ min: 1, max: 3 }),
    counter: fc.integer({ min: 0, max: 1 }),
    node: fc.constantFrom('n', 'N', '\ufffd', '\u{10000}'),
    value: fc.uint8Array({ minLength: 1, maxLength: 2 }),
    tombstone: fc.boolean(),
    prune: fc.nat(5).map((roll) => roll === 0),
  })
  .map(({ or, tag, value, prune, tombstone, ...clock }) => {
    const dead = tombstone || prune;
    if (or)
      return {
        prune,
        record: recordOf({ kind: KIND_OR, key: clock.key, tag, value: dead ? '' : `v${tag}`, tombstone: dead, millis: 2 }),
      };
    return { prune, record: recordOf({ ...clock, kind: KIND_LWW, value: dead ? new Uint8Array(0) : value, tombstone: dead }) };
  });

/** Removals after puts: the order in which a flush hands them over when both are of one record. */
const batchArbitrary = fc
  .array(writeArbitrary, { minLength: 1, maxLength: 12 })
  .map((writes) => [...writes.filter((write) => !write.prune), ...writes.filter((write) => write.prune)]);

async function contents(store: DataStore): Promise<[string, StoredRecord][]> {
  const partitions = Array.from({ length: PARTITION_COUNT }, (_, index) => index);
  const rows: [string, StoredRecord][] = [];
  await store.load(partitions, (kind, map, image) => {
    const record = storedRecord(kind, Uint8Array.from(map), image);
    // A removed OR value is forgotten here and kept in memory: nothing reads it.
    rows.push([identityOf(record), record.tombstone ? { ...record, value: new Uint8Array(0) } : record]);
  });
  return rows.sort(([left], [right]) => (left < right ? -1 : 1));
}

async function commit(store: DataStore, writes: readonly Write[]): Promise<void> {
  const batch = store.batch();
  for (const { record, prune } of writes) {
    if (prune) batch.prune(record.kind, record.map, imageOf(record));
    else batch.put(record.kind, record.map, imageOf(record));
  }
  await batch.commit(10_000);
}

test('random batches leave in Postgres what they leave in memory', async () => {
  const { target } = await testPostgres();
  const client = new PgClient({ target, applicationName: 'test' });
  await client.run(10_000, migrate);
  const store = new PostgresDataStore({ target, applicationName: 'test' });
  const property = fc.asyncProperty(fc.array(batchArbitrary, { minLength: 1, maxLength: 6 }), async (batches) => {
    await client.run(10_000, (session) => session.script('truncate lattice.lww, lattice.or_map'));
    const memory = new MemoryDataStore();
    for (const batch of batches) {
      await commit(store, batch);
      await commit(memory, batch);
    }
    assert.deepEqual(await contents(store), await contents(memory));
  });
  try {
    await fc.assert(property, { numRuns: 60 });
  } finally {
    await store.close();
    await client.close();
  }
});
