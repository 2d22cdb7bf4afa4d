/** What is acknowledged survives: kills of the process, deaths of workers, damage of the log. Real processes and files. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, describe } from 'node:test';
import { testFolder } from '../workers/postgres/test-postgres.ts';
import { opAck, payloadOf } from './testing/client-fields.ts';
import type { Message } from './testing/client-codec.ts';
import { runCli } from './testing/run-cli.ts';
import { endProcesses, NodeProcess } from './testing/node-process.ts';
import { SharedNode } from './testing/shared-node.ts';
import { eventually, healthOf, metricOf } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { nextStamp, orAdd, orRemove, put, tagOf, uniqueName } from './testing/wire-ops.ts';
import type { WireSession } from './testing/wire-session.ts';

after(endProcesses);

class Node extends NodeProcess {
  /** What a client that has nothing gets by syncing the maps. */
  async reader(...maps: readonly string[]): Promise<TopGunClient> {
    const client = new TopGunClient({ port: this.port, nodeId: `fe${nextStamp().counter}` });
    for (const map of maps) {
      client.lww(map);
      client.or(`${map}-tags`);
    }
    await client.connected();
    await client.resynced();
    return client;
  }

  segments(): string[] {
    return readdirSync(join(this.dataDir, 'wal')).filter((name) => name.endsWith('.wal'));
  }
}

async function acked(session: WireSession, payload: Message): Promise<Message> {
  session.send({ type: 'OP_BATCH', payload });
  return payloadOf(await session.next('OP_ACK'));
}

for (const fused of ['off', 'on']) {
  test(`kill -9 right behind an acknowledgement loses nothing, and what was deleted stays deleted (fused ${fused})`, async () => {
    const node = new Node(await testFolder(), { LATTICE_FUSED: fused });
    const map = uniqueName('kept');
    await node.start();
    const session = await node.wire();
    const tag = nextStamp();
    await acked(session, {
      ops: [
        ...Array.from({ length: 300 }, (_, index) => put(String(index + 1), map, `k${index}`, { index })),
        orAdd('301', `${map}-tags`, 'k', 'stays'),
        orAdd('302', `${map}-tags`, 'k', 'goes', tag),
      ],
    });
    const removal = { mapName: map, opType: 'REMOVE', key: 'k0', record: { value: null, timestamp: nextStamp() }, id: '303' };
    const ack = await acked(session, { ops: [removal, orRemove('304', `${map}-tags`, 'k', tagOf(tag))] });
    assert.equal(ack.lastId, '304');
    assert.equal(ack.achievedLevel, 'APPLIED');
    await node.kill();

    await node.start();
    const reader = await node.reader(map);
    assert.equal(reader.get(map, 'k0'), undefined);
    for (let index = 1; index < 300; index++) assert.deepEqual(reader.get(map, `k${index}`), { index });
    assert.deepEqual(reader.or(`${map}-tags`).values('k'), ['stays']);
    reader.close();
    await node.kill('SIGTERM');
  });
}

test('the log of a killed process is read by another number of workers, and goes when Postgres has it', async () => {
  const node = new Node(await testFolder());
  const map = uniqueName('moved');
  const kept = { LATTICE_FLUSH_DELAY_MS: '60000' }; // nothing reaches Postgres, so that both logs are there
  await node.start({ LATTICE_WORKER_THREADS: '1', ...kept });
  const session = await node.wire();
  await acked(session, { ops: Array.from({ length: 500 }, (_, index) => put(String(index + 1), map, `k${index}`, index)) });
  await node.kill();
  await node.start({ LATTICE_WORKER_THREADS: '3', ...kept });
  const second = await node.wire();
  await acked(second, { ops: Array.from({ length: 500 }, (_, index) => put(String(index + 1), map, `k${index}`, index + 1000)) });
  assert.deepEqual([...new Set(node.segments().map((name) => name.slice(0, 11)))].length, 2);
  await node.kill();
  await node.start({ LATTICE_WORKER_THREADS: '2', LATTICE_FLUSH_DELAY_MS: '0' });
  const reader = await node.reader(map);
  for (let index = 0; index < 500; index++) assert.equal(reader.get(map, `k${index}`), index + 1000);
  await eventually(() => assert.equal(new Set(node.segments().map((name) => name.slice(0, 11))).size, 1, 'old epochs are gone'));
  reader.close();
  await node.kill('SIGTERM');
});

test('the log of a killed process goes also when the next one has none of its own', async () => {
  for (const env of [{ LATTICE_STORE: 'write-through' }, { LATTICE_WAL: 'off' }]) {
    const node = new Node(await testFolder());
    const map = uniqueName('through');
    await node.start();
    const session = await node.wire();
    await acked(session, { ops: [put('1', map, 'k', 1)] });
    await node.kill();
    await node.start(env);
    await eventually(() => assert.deepEqual(node.segments(), []));
    const reader = await node.reader(map);
    assert.equal(reader.get(map, 'k'), 1);
    reader.close();
    await node.kill('SIGTERM');
  }
});

test('damage in the middle of the log is told, makes its partitions read-only, and is accepted by repair', async () => {
  const node = new Node(await testFolder(), { LATTICE_WAL_FSYNC: 'always' });
  const map = uniqueName('hurt');
  await node.start();
  const session = await node.wire();
  for (let id = 1; id <= 9; id++) await acked(session, { ops: [put(String(id), map, `k${id}`, 'x'.repeat(300))] });
  await node.kill();
  const [segment = ''] = node.segments();
  const file = join(node.dataDir, 'wal', segment);
  const bytes = readFileSync(file);
  const inside = bytes.indexOf('x'.repeat(300), bytes.indexOf('k4'));
  bytes[inside + 100] = (bytes[inside + 100] ?? 0) ^ 1;
  writeFileSync(file, bytes);

  const inspected = await runCli(['wal', 'inspect', '--data-dir', node.dataDir]);
  assert.equal(inspected.status, 1);
  assert.match(inspected.stdout, /damage/);
  await node.start();
  assert.match(node.stderr, new RegExp(`damage at ${segment}`));
  const reader = await node.reader(map);
  assert.equal(reader.get(map, 'k3'), 'x'.repeat(300), 'the valid part before the damage');
  assert.equal(reader.get(map, 'k9'), 'x'.repeat(300), 'and behind it');
  assert.equal(reader.get(map, 'k4'), undefined);
  reader.close();
  assert.ok((await metricOf(node.port, 'lattice_damaged_partitions')) > 0);
  const refused = await node.wire();
  refused.sendOps(put('1', map, 'k1', 'new'));
  assert.match(String(payloadOf(await refused.next('ERROR')).message), /LOG_DAMAGED/);
  await refused.closed;
  await node.kill('SIGTERM');

  const told = await runCli(['wal', 'repair', '--data-dir', node.dataDir]);
  assert.equal(told.status, 1);
  const repaired = await runCli(['wal', 'repair', '--accept-loss', '--data-dir', node.dataDir]);
  assert.equal(repaired.status, 0, repaired.stderr);
  await node.start();
  assert.equal(await metricOf(node.port, 'lattice_damaged_partitions'), 0);
  const writer = await node.wire();
  const ack = await acked(writer, { ops: [put('1', map, 'k4', 'again')] });
  assert.equal(ack.lastId, '1');
  await node.kill('SIGTERM');
});

describe('levels', () => {
  const node = new SharedNode({ flushDelayMs: 60_000, walFsync: '60000' });

  test('PERSISTED waits for a sync of the log, whatever the interval, and proves it', async () => {
    const session = await node.wire();
    const map = uniqueName('levels');
    const ops = Array.from({ length: 20 }, (_, index) => put(String(index + 1), map, `k${index}`, index)); // on both workers
    const ack = await acked(session, { ops, writeConcern: 'PERSISTED' });
    assert.equal(ack.achievedLevel, 'PERSISTED');
    const { results } = opAck(ack);
    assert.equal(results.length, 20);
    assert.ok(results.every(({ success, achievedLevel }) => success && achievedLevel === 'PERSISTED'));
    const proof = ack.proof as readonly { worker: number; wal: number; synced: number; postgres: number }[];
    assert.deepEqual(
      proof.map(({ worker }) => worker),
      [0, 1],
    );
    for (const { wal, synced } of proof) assert.ok(wal > 0 && synced >= wal, JSON.stringify(proof));
  });

  test('an op with a level of its own has it beside others of the batch', async () => {
    const session = await node.wire();
    const map = uniqueName('mixed');
    const ack = await acked(session, {
      ops: [
        put('1', map, 'a', 1),
        { ...put('2', map, 'b', 2), writeConcern: 'PERSISTED' },
        { ...put('3', map, 'c', 3), writeConcern: 'REPLICATED' },
        { ...put('4', map, 'd', 4), writeConcern: 'MEMORY' },
      ],
    });
    assert.equal(ack.lastId, '4');
    const byId = new Map(opAck(ack).results.map((result) => [result.opId, result]));
    assert.deepEqual([byId.get('2')?.success, byId.get('2')?.achievedLevel], [true, 'PERSISTED']);
    assert.equal(byId.get('3')?.success, false);
    assert.match(byId.get('3')?.error ?? '', /LEVEL_UNAVAILABLE/);
    assert.equal(byId.get('4')?.success, true);
  });

  test('a batch of nothing but FIRE_AND_FORGET is acknowledged as such', async () => {
    const session = await node.wire();
    const ack = await acked(session, { ops: [put('1', uniqueName('faf'), 'a', 1)], writeConcern: 'FIRE_AND_FORGET' });
    assert.equal(ack.achievedLevel, 'FIRE_AND_FORGET');
  });
});

describe('with LATTICE_WAL_FSYNC=always', () => {
  const node = new SharedNode({ flushDelayMs: 60_000, walFsync: 'always' });

  test('a plain acknowledgement says PERSISTED', async () => {
    const session = await node.wire();
    const ack = await acked(session, { ops: [put('1', uniqueName('always'), 'a', 1)] });
    assert.equal(ack.achievedLevel, 'PERSISTED');
    await eventually(async () => {
      assert.ok((await metricOf(node.port, 'lattice_log_synced_sequence')) >= 1);
    });
  });
});

describe('with LATTICE_WAL=off', () => {
  const node = new SharedNode({ flushDelayMs: 50, wal: false });

  test('a plain acknowledgement says MEMORY, and PERSISTED means committed in Postgres', async () => {
    const session = await node.wire();
    const map = uniqueName('off');
    assert.equal((await acked(session, { ops: [put('1', map, 'a', 1)] })).achievedLevel, 'MEMORY');
    const ack = await acked(session, { ops: [put('2', map, 'b', 'committed')], writeConcern: 'PERSISTED' });
    assert.deepEqual(
      opAck(ack).results.map(({ success, achievedLevel }) => [success, achievedLevel]),
      [[true, 'PERSISTED']],
    );
    // The other key may be another worker's, for which nobody has waited.
    const rows = await node.storage.rows(`select key from lattice.lww where map = '${map}'::bytea and key = 'b'::bytea`);
    assert.equal(rows.length, 1);
  });
});

test('health names the log of each worker', async () => {
  const node = new Node(await testFolder());
  await node.start();
  const health = JSON.stringify(await healthOf(node.port));
  assert.match(health, /"log"/);
  await node.kill('SIGTERM');
});
