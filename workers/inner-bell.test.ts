import assert from 'node:assert/strict';
import test from 'node:test';
import { createInnerBells } from './inner-bell.ts';

const turnEnds = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('the worker is woken at the end of the turn, once for all that was written; the gateway behind the worker, in that turn', async () => {
  const { gateway, worker } = createInnerBells();
  const log: string[] = [];
  worker.listen(() => {
    log.push('worker drains');
    worker.ring();
    worker.ring();
    log.push('worker is done');
  });
  gateway.listen(() => log.push('gateway answers'));
  gateway.ringSoon();
  log.push('frame');
  gateway.ring();
  gateway.wrote(1e9);
  await Promise.resolve();
  log.push('frame');
  assert.deepEqual(log, ['frame', 'frame']);
  const nextTurn = turnEnds(); // queued behind the bell
  await nextTurn;
  assert.deepEqual(log, ['frame', 'frame', 'worker drains', 'worker is done', 'gateway answers']);
});

test('each ring behind a wake-up wakes again', async () => {
  const { gateway, worker } = createInnerBells();
  let wakes = 0;
  worker.listen(() => {
    wakes += 1;
  });
  for (let ring = 0; ring < 3; ring += 1) {
    gateway.ring();
    await turnEnds();
  }
  assert.equal(wakes, 3);
});

test('a closed end hears nothing more, and ringing it does no harm', async () => {
  const { gateway, worker } = createInnerBells();
  let wakes = 0;
  worker.listen(() => {
    wakes += 1;
  });
  gateway.ring();
  worker.close();
  await turnEnds();
  gateway.ring();
  await turnEnds();
  assert.equal(wakes, 0);
});
