import assert from 'node:assert/strict';
import test from 'node:test';
import { HostedWorker } from './hosted-worker.ts';
import { type WorkerContext, workerTask } from './worker-task.ts';

type Context = WorkerContext<string, string, string>;

const HEARTBEAT_STILL_MS = 50;

interface Harness {
  readonly worker: HostedWorker<string, string, string>;
  readonly heard: string[];
  readonly crashes: string[];
}

/** The host is this thread, and the worker what `body` does. */
function harness(body: (context: Context) => Promise<void>): Harness {
  const heard: string[] = [];
  const crashes: string[] = [];
  const run = workerTask<string, string, string>(body);
  const worker = new HostedWorker<string, string, string>(
    { data: 'data', host: (task) => void run(task), heartbeatStillMs: HEARTBEAT_STILL_MS },
    { onCrash: (error) => crashes.push(error.message), onMessage: (message) => heard.push(message) },
  );
  return { worker, heard, crashes };
}

/** Serves until it is asked to stop, and flushes for a turn then. */
async function serve(context: Context): Promise<void> {
  await new Promise<void>((resolve) => {
    context.listen({ onStop: resolve, onMessage: (message) => context.send(`${context.data} ${message}`) });
    context.ready();
    const beat = (): void => {
      context.heartbeat.beat();
      setTimeout(beat, 5).unref();
    };
    beat();
  });
  await new Promise((resolve) => setTimeout(resolve, 10));
  context.send('flushed');
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('is up when its body says so, answers, and is gone when its body has returned', async () => {
  const { worker, heard, crashes } = harness(serve);
  assert.equal(worker.send(0, 'early'), false);
  await worker.start();
  assert.equal(worker.send(0, 'question'), true);
  await until(() => heard.length === 1);
  await worker.stop();
  await until(() => heard.length === 2);
  assert.deepEqual(heard, ['data question', 'flushed']);
  assert.deepEqual(crashes, []);
  assert.equal(worker.send(0, 'late'), false);
});

test('a thread that ends before the worker is ready fails the start, and one that ends later is a crash, told once', async () => {
  const first = harness(() => new Promise(() => {}));
  const started = first.worker.start();
  first.worker.died(new Error('out of memory'));
  await assert.rejects(started, /out of memory/);
  assert.deepEqual(first.crashes, []);
  const second = harness(serve);
  await second.worker.start();
  second.worker.died(new Error('out of memory'));
  second.worker.died(new Error('again'));
  assert.deepEqual(second.crashes, ['out of memory']);
  await second.worker.stop(); // there is nothing to wait for
});

test('a heart that stands still is a crash', async () => {
  const { worker, crashes } = harness(async (context) => {
    context.ready(); // beats once
    await new Promise(() => {});
  });
  await worker.start();
  await until(() => crashes.length > 0);
  assert.match(crashes[0] ?? '', /no heartbeat for \d+ ms/);
});

test('a worker that does not stop in time is a crash, and the stop goes on', async () => {
  const { worker, crashes } = harness(async (context) => {
    context.listen({});
    context.ready();
    await new Promise(() => {});
  });
  await worker.start();
  await worker.stop(20);
  assert.deepEqual(crashes, ['the worker did not stop within 20 ms']);
});
