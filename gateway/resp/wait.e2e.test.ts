/** What WAITAOF promises, on a node with a log. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freePort } from '../testing/redis-server.ts';
import { RespClient } from '../testing/resp-client.ts';
import { startGrid, testStorage } from '../testing/test-grid.ts';

test('WAITAOF is answered when the log is on the disk, and with none when there was no time', async (t) => {
  const storage = await testStorage();
  const port = await freePort();
  const node = await startGrid({
    ...storage.config,
    respPort: port,
    workerThreads: 2,
    store: 'write-behind',
    wal: true,
    walFsync: 'off',
  });
  t.after(async () => {
    await node.grid.stop();
    await storage.close();
  });
  const client = await RespClient.open(port);
  client.send('SET a 1\r\nWAITAOF 1 0 0\r\nGET a\r\nWAITAOF 0 0 0\r\n');
  for (const reply of ['+OK\r\n', '*2\r\n:1\r\n:0\r\n', '$1\r\n1\r\n', '*2\r\n:0\r\n:0\r\n']) {
    assert.equal((await client.reply()).toString(), reply);
  }
  assert.equal(await client.text('CONFIG', 'GET', 'appendonly'), '*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n');
  client.close();
});
