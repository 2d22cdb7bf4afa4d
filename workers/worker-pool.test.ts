import assert from 'node:assert/strict';
import { once } from 'node:events';
import { EventEmitter } from 'node:events';
import test from 'node:test';
import type { PoolTaskData, PoolTaskReply, PoolTaskRequest } from './testing/pool-task.ts';
import { moduleBeside } from './threads.ts';
import { restartDelayMs, WorkerPool, type WorkerPoolEvents } from './worker-pool.ts';

const LIMIT = { timeout: 60_000 };

type Pool = WorkerPool<PoolTaskData, PoolTaskRequest, PoolTaskReply>;

interface Harness {
  readonly pool: Pool;
  readonly crashes: { workerId: number; error: Error }[];
  ping(workerId: number): Promise<PoolTaskReply>;
  /** Sends a request that kills the worker and waits until it is replaced. */
  kill(workerId: number, request: PoolTaskRequest): Promise<Error>;
}

interface HarnessOptions {
  readonly failAtStart?: boolean;
  readonly heartbeatStillMs?: number;
  /** Worker 0 dies when it is ready; worker 1 is ready only behind that. */
  readonly diesDuringStart?: boolean;
}

function harness(options: HarnessOptions = {}): Harness {
  const emitter = new EventEmitter();
  const crashes: { workerId: number; error: Error }[] = [];
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const events: WorkerPoolEvents<PoolTaskReply> = {
    onCrash: (workerId, error) => {
      crashes.push({ workerId, error });
      Atomics.store(gate, 0, 1);
    },
    onReplaced: (workerId) => emitter.emit('replaced', workerId),
    onMessage: (workerId, reply) => emitter.emit(`reply ${workerId}`, reply),
  };
  const pool: Pool = new WorkerPool(
    {
      module: moduleBeside('./testing/pool-task', import.meta.url),
      workers: 2,
      launch: (workerId) => ({
        data: {
          greeting: `worker ${workerId}`,
          failAtStart: workerId === 1 && options.failAtStart === true,
          ...(options.diesDuringStart === true ? (workerId === 0 ? { diesWhenReady: true } : { gate }) : {}),
        },
      }),
      resourceLimits: { maxOldGenerationSizeMb: 32 },
      heartbeatStillMs: options.heartbeatStillMs ?? 600_000,
      heartbeatCheckMs: 20,
    },
    events,
  );
  const ping = async (workerId: number): Promise<PoolTaskReply> => {
    const reply = once(emitter, `reply ${workerId}`);
    assert.equal(pool.send(workerId, 'ping'), true);
    return (await reply)[0] as PoolTaskReply;
  };
  const kill = async (workerId: number, request: PoolTaskRequest): Promise<Error> => {
    const crashesBefore = crashes.length;
    const replaced = once(emitter, 'replaced');
    pool.send(workerId, request);
    assert.deepEqual(await replaced, [workerId]);
    assert.equal(crashes.length, crashesBefore + 1);
    const crash = crashes[crashesBefore];
    assert.equal(crash?.workerId, workerId);
    return crash?.error as Error;
  };
  return { pool, crashes, ping, kill };
}

test('each worker has its own thread and data, and ends when asked to', LIMIT, async () => {
  const { pool, crashes, ping } = harness();
  await pool.start();
  assert.deepEqual(await ping(0), { workerId: 0, launch: 0, greeting: 'worker 0', pings: 1 });
  assert.deepEqual(await ping(1), { workerId: 1, launch: 0, greeting: 'worker 1', pings: 1 });
  assert.deepEqual(await ping(1), { workerId: 1, launch: 0, greeting: 'worker 1', pings: 2 });
  await pool.stop();
  assert.deepEqual(crashes, []);
});

test('a worker that dies in any way is replaced, and the other one does not notice', LIMIT, async () => {
  const { pool, ping, kill } = harness({ heartbeatStillMs: 1_500 });
  await pool.start();
  const deaths: [PoolTaskRequest, RegExp][] = [
    ['throw', /thrown on request/],
    ['throw-in-timer', /thrown outside of the task/],
    ['exit', /exit/i],
    ['out-of-memory', /memory/],
    ['loop', /worker 0: no heartbeat for \d+ ms/],
    ['return', /worker 0 ended without being asked to/],
  ];
  let launch = 0;
  let otherPings = 0;
  for (const [request, expected] of deaths) {
    launch += 1;
    assert.match((await kill(0, request)).message, expected, request);
    assert.deepEqual(await ping(0), { workerId: 0, launch, greeting: 'worker 0', pings: 1 }, request);
    otherPings += 1;
    assert.deepEqual(await ping(1), { workerId: 1, launch: 0, greeting: 'worker 1', pings: otherPings }, request);
  }
  await pool.stop();
});

test('a pool whose worker cannot start says why and leaves nothing behind', LIMIT, async () => {
  const { pool, crashes } = harness({ failAtStart: true });
  await assert.rejects(pool.start(), /cannot start/);
  await pool.stop();
  assert.deepEqual(crashes, []);
});

test('a worker that dies when it was ready is replaced, though the others are still starting', LIMIT, async () => {
  const { pool, crashes, ping } = harness({ diesDuringStart: true });
  await pool.start();
  assert.deepEqual(
    crashes.map(({ workerId, error }) => [workerId, error.message]),
    [[0, 'died when it was ready']],
  );
  assert.deepEqual(await ping(0), { workerId: 0, launch: 1, greeting: 'worker 0', pings: 1 });
  assert.equal((await ping(1)).launch, 0);
  await pool.stop();
});

test('a worker that fails while it stops is reported and not replaced', LIMIT, async () => {
  const { pool, crashes } = harness();
  await pool.start();
  pool.send(1, 'fail-at-stop');
  await pool.stop();
  assert.deepEqual(
    crashes.map(({ workerId, error }) => [workerId, error.message]),
    [[1, 'failed to flush']],
  );
});

test('a worker that hangs while it stops is reported and ended after the cap', LIMIT, async () => {
  const { pool, crashes } = harness();
  await pool.start();
  pool.send(0, 'hang-at-stop');
  await pool.stop(200);
  assert.deepEqual(
    crashes.map(({ workerId, error }) => [workerId, error.message]),
    [[0, 'worker 0 did not stop within 200 ms']],
  );
});

test('a message to a worker that is down is refused', LIMIT, async () => {
  const { pool, crashes } = harness();
  await pool.start();
  pool.send(0, 'exit');
  while (crashes.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(pool.send(0, 'ping'), false);
  assert.equal(pool.isReady(0), false);
  assert.equal(pool.isReady(1), true);
  await pool.stop();
});

test('the pause before a restart doubles from 20 ms to 5 s', () => {
  assert.deepEqual([1, 2, 3, 4, 8, 9, 10, 1000].map(restartDelayMs), [20, 40, 80, 160, 2560, 5000, 5000, 5000]);
});
