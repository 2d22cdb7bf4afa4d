/**
 * Lock safety over real sockets: whatever holders do, no write under an old token is taken once a newer one was granted.
 *
 * The resource is a map, its guard the fence of each write. Contenders hold beyond their time on purpose; a worker dies in between;
 * the process is killed. What is true is judged by who was told what before a write was sent.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import type { Message } from './testing/client-codec.ts';
import { opAck, payloadOf } from './testing/client-fields.ts';
import { ServerProcess } from './testing/server-process.ts';
import { eventually, startGrid, type TestGrid, testStorage } from './testing/test-grid.ts';
import { nextStamp, put } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const CONTENDERS = 64;
const GRANTS = 160;
const TTL_MS = 25;
const STALL_MS = 70;
const MAP = 'guarded';
const LOCK = 'resource/1';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const fenced = (op: Message, token: number): Message => ({ ...op, fence: { lock: LOCK, token } });

async function tokenFor(session: WireSession, requestId: string, ttl?: number): Promise<number> {
  session.send({ type: 'LOCK_REQUEST', payload: { requestId, name: LOCK, ...(ttl === undefined ? {} : { ttl }) } });
  const grant = payloadOf(await session.next('LOCK_GRANTED', (message) => payloadOf(message).requestId === requestId));
  assert.equal(typeof grant.fencingToken, 'number');
  return Number(grant.fencingToken);
}

/** True when the op was taken. */
async function isTaken(session: WireSession, op: Message): Promise<boolean> {
  session.sendOps(op);
  const ack = opAck(payloadOf(await session.next('OP_ACK')));
  return ack.results.every(({ success }) => success);
}

/** A key on each worker. */
function keysOf(node: TestGrid): string[] {
  const table = new PartitionTable(node.grid.memory.table);
  return [0, 1].map((worker) => {
    for (let index = 0; ; index++) if (table.ownerOf(partitionOf(fnv1a(`key-${index}`))) === worker) return `key-${index}`;
  });
}

/** What all contenders together know. */
class Referee {
  newest = 0;
  taken = 0;
  refused = 0;
  /** Writes that were sent under an old token, knowingly. */
  stale = 0;
  readonly #tokens = new Set<number>();

  granted(token: number): void {
    assert.ok(!this.#tokens.has(token), `token ${token} was granted twice`);
    this.#tokens.add(token);
    this.newest = Math.max(this.newest, token); // a grant may come so late that the next one was told elsewhere
  }

  get grants(): number {
    return this.#tokens.size;
  }

  judge(token: number, newestWhenSent: number, taken: boolean): void {
    if (token < newestWhenSent) {
      this.stale += 1;
      assert.equal(taken, false, `a write under ${token} was taken after ${newestWhenSent} was granted`);
    }
    if (taken) this.taken += 1;
    else this.refused += 1;
  }
}

/** Takes the lock again and again, stays beyond its time every other time, and writes all the same. */
async function contend(node: TestGrid, number: number, referee: Referee): Promise<void> {
  const keys = keysOf(node);
  for (let round = 0; referee.grants < GRANTS; round++) {
    const session = await WireSession.open({ port: node.port });
    try {
      const token = await tokenFor(session, `${number}/${round}`, TTL_MS).catch(() => 0);
      if (token === 0) continue; // nobody was granted anything: the wait was over
      referee.granted(token);
      const stalls = (number + round) % 2 === 0;
      if (stalls) await pause(STALL_MS);
      for (const [index, key] of keys.entries()) {
        const newest = referee.newest;
        // A writer of its own: an older write of one whose later one was taken is a success.
        const stamp = nextStamp(`contender-${number}`);
        const op = fenced(put(String(index + 1), MAP, key, { token }, stamp), token);
        referee.judge(token, newest, await isTaken(session, op));
      }
      if (!stalls) session.send({ type: 'LOCK_RELEASE', payload: { requestId: 'r', name: LOCK, fencingToken: token } });
    } finally {
      await session.close();
    }
  }
}

test('64 contenders, half of whom stall beyond their time, never write under an old token, also when a worker dies', {
  timeout: 120_000,
}, async (t) => {
  const storage = await testStorage();
  const node = await startGrid({
    ...storage.config,
    store: 'write-behind',
    workerThreads: 2,
    gatewayThreads: 2,
    logLevel: 'silent',
  });
  t.after(async () => {
    await node.grid.stop();
    await storage.close();
  });
  const watcher = await WireSession.open({ port: node.port });
  const referee = new Referee();
  const contenders = Array.from({ length: CONTENDERS }, (_, number) => contend(node, number, referee));
  await eventually(() => assert.ok(referee.grants > GRANTS / 4), 60_000);
  const beforeDeath = referee.newest;
  assert.equal(node.grid.crashWorker(0, 'exit'), true);
  await eventually(() => assert.ok(referee.grants > GRANTS / 2), 60_000);
  assert.equal(node.grid.crashWorker(1, 'exit'), true);
  await Promise.all(contenders);
  assert.ok(referee.newest > beforeDeath);
  assert.ok(referee.stale >= GRANTS / 8, `${referee.stale} writes were sent under an old token`);
  assert.ok(referee.taken > 0);
  await watcher.barrier();
  // Of each key, whoever watches sees tokens that rise: no older holder came behind a newer one.
  const highest = new Map<string, number>();
  for (const event of eventsOf(watcher)) {
    const { key, record } = event as { key: string; record: { value: { token: number } } };
    assert.ok(record.value.token >= (highest.get(key) ?? 0), `${key}: ${record.value.token} came behind ${highest.get(key)}`);
    highest.set(key, record.value.token);
  }
  assert.ok(highest.size === 2);
  const { grants, stale, taken, refused } = referee;
  t.diagnostic(
    `${grants} grants, ${taken} writes taken, ${refused} refused, ${stale} of them sent under a token known to be old`,
  );
});

function eventsOf(session: WireSession): unknown[] {
  const events: unknown[] = [];
  for (const message of [...session.messages]) {
    const payload = message.payload as { events?: unknown[] };
    if (message.type === 'SERVER_EVENT') events.push(payload);
    else if (message.type === 'SERVER_BATCH_EVENT') events.push(...(payload.events ?? []));
  }
  return events;
}

test('a holder keeps its lock when the worker of the lock is replaced, and who waits goes on waiting', {
  timeout: 60_000,
}, async (t) => {
  const storage = await testStorage();
  const node = await startGrid({
    ...storage.config,
    store: 'write-behind',
    workerThreads: 1,
    gatewayThreads: 2,
    logLevel: 'silent',
  });
  t.after(async () => {
    await node.grid.stop();
    await storage.close();
  });
  const [ann, ben, cleo] = await Promise.all([0, 1, 2].map(() => WireSession.open({ port: node.port })));
  assert.ok(ann !== undefined && ben !== undefined && cleo !== undefined);
  const token = await tokenFor(ann, 'a');
  ben.send({ type: 'LOCK_REQUEST', payload: { requestId: 'b', name: LOCK, ttl: 60_000 } });
  await ben.barrier();
  assert.equal(node.grid.crashWorker(0, 'exit'), true);
  assert.equal(await isTaken(ann, fenced(put('1', MAP, 'k', 1), token)), true, 'the newest token is still good');
  cleo.send({ type: 'LOCK_REQUEST', payload: { requestId: 'c', name: LOCK, ttl: 60_000 } });
  await pause(300);
  assert.deepEqual([...ben.take('LOCK_GRANTED'), ...cleo.take('LOCK_GRANTED')], []);
  ann.send({ type: 'LOCK_RELEASE', payload: { requestId: 'r', name: LOCK, fencingToken: token } });
  assert.deepEqual(payloadOf(await ann.next('LOCK_RELEASED')), { requestId: 'r', name: LOCK, success: true });
  const second = Number(payloadOf(await ben.next('LOCK_GRANTED')).fencingToken);
  assert.ok(second > token);
  assert.equal(await isTaken(ann, fenced(put('2', MAP, 'k', 2), token)), false);
});

async function processWith(t: TestContext): Promise<() => Promise<{ server: ServerProcess; port: number }>> {
  const storage = await testStorage();
  const servers: ServerProcess[] = [];
  t.after(async () => {
    for (const server of servers) await server.end();
    await storage.close();
  });
  return async () => {
    const server = new ServerProcess(['--port', '0', '--worker-threads', '2', '--gateway-threads', '1', '--log-level', 'warn'], {
      LATTICE_DATA_DIR: storage.config.dataDir,
      DATABASE_URL: storage.config.databaseUrl,
    });
    servers.push(server);
    return { server, port: await server.port() };
  };
}

test('kill -9 forgets no token: older ones stay refused, the newest stays good, new ones are higher', {
  timeout: 120_000,
}, async (t) => {
  const start = await processWith(t);
  let { server, port } = await start();
  let session = await WireSession.open({ port });
  const first = await tokenFor(session, 'a');
  session.send({ type: 'LOCK_RELEASE', payload: { requestId: 'r', name: LOCK, fencingToken: first } });
  const second = await tokenFor(session, 'b');
  assert.ok(second > first);
  const accepted = fenced(put('1', MAP, 'k', 'before the kill', nextStamp()), second);
  assert.equal(await isTaken(session, accepted), true);

  for (const kill of ['first', 'second']) {
    await server.end(); // SIGKILL
    ({ server, port } = await start());
    session = await WireSession.open({ port });
    for (const key of ['k', 'k1', 'k2', 'k3', 'k4', 'k5']) {
      assert.equal(await isTaken(session, fenced(put('1', MAP, key, 'stale'), first)), false, `${key} after the ${kill} kill`);
    }
    assert.equal(await isTaken(session, accepted), true, 'what was taken before and comes again is a success');
    assert.equal(await isTaken(session, fenced(put('2', MAP, 'k', kill), second)), true, 'nobody has taken the lock since');
  }

  const third = await tokenFor(session, 'c');
  assert.ok(third > second);
  assert.equal(Math.floor(third / 2 ** 32) - Math.floor(second / 2 ** 32), 2, 'the boot count stands in the token');
  assert.equal(await isTaken(session, fenced(put('3', MAP, 'k', 'late'), second)), false);
  session.sendOps(fenced(put('4', MAP, 'k', 'late'), second));
  const rejected = payloadOf(await session.next('OP_REJECTED', (message) => payloadOf(message).opId === '4'));
  assert.equal(rejected.code, 409);
  assert.match(String(rejected.reason), /^FENCED: /);
});

test('the partition map has the port that the server listens on, in the words of its client', async (t) => {
  const node = await startGrid({ gatewayThreads: 2 });
  t.after(() => node.grid.stop());
  for (const [path, suffix, headers, scheme] of [
    ['/', '', {}, 'ws'],
    ['/ws?events=interest', '/ws\\?events=interest', {}, 'ws'],
    ['/ws', '/ws', { 'x-forwarded-proto': 'https' }, 'wss'],
  ] as const) {
    const session = await WireSession.open({ port: node.port, path, headers });
    session.send({ type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: 0 } });
    const map = payloadOf(await session.next('PARTITION_MAP')) as { nodes: { endpoints: { websocket: string; http: string } }[] };
    const endpoints = map.nodes[0]?.endpoints;
    assert.match(endpoints?.websocket ?? '', new RegExp(`^${scheme}://[^/]+:${node.port}${suffix}$`));
    const health = await fetch(`${endpoints?.http.replace('https', 'http')}/health`);
    assert.equal(health.status, 200, 'the address leads here');
    await session.close();
  }
});
