import assert from 'node:assert/strict';
import test from 'node:test';
import { FairTurns } from './fair-turns.ts';

async function soon(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('an asker waits for others once, however much they ask', async () => {
  const turns = new FairTurns(2);
  const given: string[] = [];
  const ask = (asker: string): void => void turns.take(asker).then(() => given.push(asker));
  for (let index = 0; index < 6; index++) ask('much');
  ask('little');
  await soon();
  assert.deepEqual(given, ['much', 'much']);
  for (let index = 0; index < 5; index++) turns.end();
  await soon();
  assert.deepEqual(given.slice(2), ['much', 'little', 'much', 'much', 'much']);
});

test('turns that nobody waits for are free again, and no more than there are', async () => {
  const turns = new FairTurns(1);
  for (let round = 0; round < 3; round++) {
    await turns.take('a');
    turns.end();
  }
  await turns.take('a');
  let isGiven = false;
  void turns.take('b').then(() => {
    isGiven = true;
  });
  await soon();
  assert.equal(isGiven, false);
});

test('who waits for too many turns is refused one more', async () => {
  const turns = new FairTurns(0);
  for (let index = 0; index < 256; index++) void turns.take('a');
  await assert.rejects(turns.take('a'), { code: 'UNAVAILABLE' });
  void turns.take('b');
});
