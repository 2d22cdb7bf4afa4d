import assert from 'node:assert/strict';
import test from 'node:test';
import type { EchoRequest } from './testing/echo-thread.ts';
import { moduleBeside, Thread, type ThreadEvents } from './threads.ts';

const LIMIT = { timeout: 30_000 };

function start(events: ThreadEvents<string>, data: { failAtStart?: boolean; hangAtStop?: boolean } = {}) {
  return Thread.start<EchoRequest, string>(
    {
      name: 'gateway 0',
      module: moduleBeside('./testing/echo-thread', import.meta.url),
      data: { failAtStart: false, hangAtStop: false, ...data },
    },
    events,
  );
}

function failOnFailure(error: Error): void {
  assert.fail(error);
}

test('a thread gets its data, answers, and ends when asked to', LIMIT, async () => {
  let heard: (message: string) => void = () => {};
  const answer = new Promise<string>((resolve) => {
    heard = resolve;
  });
  const thread = await start({ onMessage: (message) => heard(message), onFailure: failOnFailure });
  thread.send({ echo: 'hello' });
  assert.equal(await answer, 'hello');
  assert.equal(await thread.stop(10_000), true);
});

test('an error before a thread is ready rejects its start', LIMIT, async () => {
  await assert.rejects(start({ onFailure: failOnFailure }, { failAtStart: true }), /no port to listen on/);
});

test('an error of a running thread is reported once', LIMIT, async () => {
  const failures: string[] = [];
  const thread = await start({ onFailure: (error) => failures.push(error.message) });
  thread.send({ fail: 'socket exploded' });
  await thread.exited;
  assert.deepEqual(failures, ['socket exploded']);
});

test('a thread that does not end when asked to is not killed', LIMIT, async () => {
  let heard: (message: string) => void = () => {};
  const answer = new Promise<string>((resolve) => {
    heard = resolve;
  });
  const failures: string[] = [];
  const thread = await start(
    { onMessage: (message) => heard(message), onFailure: (error) => failures.push(error.message) },
    { hangAtStop: true },
  );
  assert.equal(await thread.stop(50), false);
  thread.send({ echo: 'still here' });
  assert.equal(await answer, 'still here');
  thread.send({ fail: 'end of test' });
  await thread.exited;
  assert.deepEqual(failures, ['end of test']);
});
