/** Names of hashes and strings over several workers: what is refused, or finds nothing, makes no map. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freePort } from '../testing/redis-server.ts';
import { RespClient } from '../testing/resp-client.ts';
import { startGrid } from '../testing/test-grid.ts';

test('commands on hashes that are refused, or find nothing, use up no maps', async () => {
  const respPort = await freePort();
  const node = await startGrid({ respPort, workerThreads: 3, maxMaps: 20 });
  try {
    const client = await RespClient.open(respPort);
    for (let number = 0; number < 60; number++) {
      const name = `string:${number}`;
      assert.equal(await client.text('SET', name, 'x'), '+OK\r\n');
      assert.match(await client.text('HSET', name, 'f', '1', 'g', '2'), /^-WRONGTYPE /);
      assert.match(await client.text('HINCRBY', name, 'f', '1'), /^-WRONGTYPE /);
      assert.match(await client.text('HDEL', name, 'f'), /^-WRONGTYPE /);
      assert.equal(await client.text('HDEL', `nothing:${number}`, 'f', 'g'), ':0\r\n');
      assert.equal(await client.text('HGET', `nothing:${number}`, 'f'), '$-1\r\n');
    }
    for (let number = 0; number < 15; number++) {
      assert.equal(await client.text('HSET', `hash:${number}`, 'f', '1', 'g', '2'), ':2\r\n');
      assert.equal(await client.text('HINCRBY', `hash:${number}`, 'f', '1'), ':2\r\n');
    }
    client.close();
  } finally {
    await node.grid.stop();
  }
});
