import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PgClient } from './connection.ts';
import { MetaStore } from './meta-store.ts';
import { migrate } from './schema.ts';
import { testPostgres } from './test-postgres.ts';

async function withMeta(run: (meta: MetaStore) => Promise<void>): Promise<void> {
  const { target } = await testPostgres();
  const client = new PgClient({ target, applicationName: 'test' });
  await client.run(10_000, migrate);
  try {
    await run(new MetaStore(client));
  } finally {
    await client.close();
  }
}

test('a value is absent, set, and replaced', () =>
  withMeta(async (meta) => {
    assert.equal(await meta.get('x'), undefined);
    await meta.set('x', '1');
    await meta.set('x', '2');
    assert.equal(await meta.get('x'), '2');
  }));

test('node id and secret are made once and then stay, whatever the random', () =>
  withMeta(async (meta) => {
    const nodeId = await meta.nodeId((bytes) => Buffer.alloc(bytes, 0xab));
    assert.equal(nodeId, 'server-abababababababab');
    assert.equal(await meta.nodeId((bytes) => Buffer.alloc(bytes, 0xcd)), nodeId);
    const secret = await meta.serverSecret((bytes) => Buffer.alloc(bytes, 1));
    assert.equal(Buffer.from(secret, 'base64url').length, 32);
    assert.equal(await meta.serverSecret((bytes) => Buffer.alloc(bytes, 2)), secret);
  }));

test('the prune watermark only rises', () =>
  withMeta(async (meta) => {
    assert.equal(await meta.pruneWatermarkMs(), 0);
    assert.equal(await meta.raisePruneWatermark(1_700_000_000_000), 1_700_000_000_000);
    assert.equal(await meta.raisePruneWatermark(5), 1_700_000_000_000);
    assert.equal(await meta.raisePruneWatermark(1_700_000_000_001), 1_700_000_000_001);
    assert.equal(await meta.pruneWatermarkMs(), 1_700_000_000_001);
  }));

test('the first offset of a clock is the one that stays, and all are listed with their exact bytes and numbers', () =>
  withMeta(async (meta) => {
    const odd = Uint8Array.of(0xff, 0, 0x5c);
    assert.equal(await meta.quarantine(odd, -61_000.25), -61_000.25);
    assert.equal(await meta.quarantine(odd, -1), -61_000.25);
    await meta.quarantine(Uint8Array.of(1), -(2 ** 53));
    assert.deepEqual(await meta.quarantined(), [
      { node: Uint8Array.of(1), offsetMs: -(2 ** 53) },
      { node: odd, offsetMs: -61_000.25 },
    ]);
  }));
