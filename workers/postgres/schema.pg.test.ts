import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fnv1aUtf8 } from '../../engine/partition/hash.ts';
import { KIND_OR } from '../../engine/storage/record.ts';
import { imageOf, recordOf } from '../../engine/storage/stored-record.ts';
import { PgClient } from './connection.ts';
import type { PgRow } from './pg-session.ts';
import { PostgresDataStore } from './postgres-data-store.ts';
import { LOCK_CLASS, migrate, SCHEMA_VERSION } from './schema.ts';
import { testPostgres } from './test-postgres.ts';
import { TranscodedJson } from './transcoded-json.ts';

const DEADLINE_MS = 10_000;

async function withClient(run: (client: PgClient) => Promise<void>): Promise<void> {
  const { target } = await testPostgres();
  const client = new PgClient({ target, applicationName: 'test' });
  try {
    await run(client);
  } finally {
    await client.close();
  }
}

async function rows(client: PgClient, text: string): Promise<readonly PgRow[]> {
  return client.run(DEADLINE_MS, (session) => session.script(text));
}

test('an empty database is brought to the version of the program, and a second time nothing happens', () =>
  withClient(async (client) => {
    await client.run(DEADLINE_MS, migrate);
    await client.run(DEADLINE_MS, migrate);
    const [row] = await rows(client, 'select count(*)::int as count, max(version) as version from lattice.migration');
    assert.deepEqual({ ...row }, { count: SCHEMA_VERSION, version: SCHEMA_VERSION });
  }));

test('a database of a newer program is refused, naming both versions', () =>
  withClient(async (client) => {
    await client.run(DEADLINE_MS, migrate);
    await rows(client, `insert into lattice.migration (version, name) values (99, 'the future')`);
    await assert.rejects(client.run(DEADLINE_MS, migrate), {
      code: 'STORAGE_VERSION',
      message: `the database was written by schema version 99, this program knows versions up to ${SCHEMA_VERSION}`,
    });
  }));

test('a migration that fails leaves the version before it', () =>
  withClient(async (client) => {
    await client.run(DEADLINE_MS, migrate);
    const later = [
      ...Array.from({ length: SCHEMA_VERSION }, () => ({ name: 'there already', sql: 'select 1' })),
      { name: 'fine', sql: 'create table lattice.extra (id int)' },
      { name: 'broken', sql: 'create table lattice.extra (id int)' },
    ];
    await assert.rejects(
      client.run(DEADLINE_MS, (session) => migrate(session, later)),
      { code: 'STORAGE_UNAVAILABLE' },
    );
    const [row] = await rows(
      client,
      `select max(version) as version, to_regclass('lattice.extra') as extra from lattice.migration`,
    );
    assert.deepEqual({ ...row }, { version: SCHEMA_VERSION, extra: null });
  }));

test('programs that start together migrate one after the other', async () => {
  const { target } = await testPostgres();
  const clients = Array.from({ length: 4 }, () => new PgClient({ target, applicationName: 'test' }));
  await Promise.all(clients.map((client) => client.run(DEADLINE_MS, migrate)));
  const [first] = clients;
  assert.ok(first !== undefined);
  const [row] = await rows(first, 'select count(*)::int as count from lattice.migration');
  assert.equal(row?.count, SCHEMA_VERSION);
  await Promise.all(clients.map((client) => client.close()));
});

test('the lock class is the same for ever', () => {
  assert.equal(LOCK_CLASS, fnv1aUtf8(new TextEncoder().encode('lattice'), 0, 7) | 0);
});

test('the view shows text and JSON, NULL where JSON cannot hold the value, and never fails on odd bytes', () =>
  withClient(async (client) => {
    await client.run(DEADLINE_MS, migrate);
    const { target } = await testPostgres();
    assert.ok('database' in target);
    const [{ name } = { name: '' }] = await rows(client, 'select current_database() as name');
    const store = new PostgresDataStore({
      target: { ...target, database: String(name) },
      applicationName: 'test',
      json: new TranscodedJson(),
    });
    const object = Uint8Array.of(0x81, 0xa1, 0x61, 0x93, 0x01, 0xc3, 0xc0); // {a: [1, true, nil]}
    const records = [
      recordOf({ map: 'users', key: 'ann', value: object, millis: 1_700_000_000_000, ttlMs: 1000 }),
      recordOf({ map: 'users', key: 'bin', value: Uint8Array.of(0xc4, 0x01, 0xff) }),
      recordOf({ map: 'users', key: 'nul', value: Uint8Array.of(0xa1, 0x00) }),
      recordOf({ map: 'users', key: Uint8Array.of(0x61, 0, 0xff), tombstone: true, millis: Number.MAX_VALUE }),
      recordOf({ kind: KIND_OR, map: 'tags', key: 'k', tag: 't1', value: Uint8Array.of(0xa2, 0x68, 0x69) }),
    ];
    const batch = store.batch();
    for (const record of records) batch.put(record.kind, record.map, imageOf(record));
    await batch.commit(DEADLINE_MS);
    await store.close();
    const shown = await rows(
      client,
      `select kind, map, key, tag, value, tombstone, written_at::text as written, extract(epoch from expires_at - written_at)::int as ttl
       from lattice.record order by kind, key`,
    );
    const line = (fields: object): object => ({
      kind: 'lww',
      map: 'users',
      tag: null,
      value: null,
      tombstone: false,
      written: '1970-01-01 00:00:00.001+00',
      ttl: null,
      ...fields,
    });
    assert.deepEqual(
      shown.map((row) => ({ ...row })),
      [
        line({ key: 'a\\000\\377', tombstone: true, written: null }),
        line({ key: 'ann', value: { a: [1, true, null] }, written: '2023-11-14 22:13:20+00', ttl: 1 }),
        line({ key: 'bin' }),
        line({ key: 'nul' }),
        line({ kind: 'or', map: 'tags', key: 'k', tag: 't1', value: 'hi' }),
      ],
    );
  }));
