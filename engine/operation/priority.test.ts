import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { grantedPriority, PRIORITIES, WeightedTurns } from './priority.ts';

const WEIGHTS = { high: 3, normal: 2, low: 1 };

/** Serves `times` requests of those that wait, and answers with how many each class got. */
function serve(turns: WeightedTurns, waiting: readonly number[], times: number): number[] {
  const served = PRIORITIES.map(() => 0);
  for (let time = 0; time < times; time++) {
    const at = turns.next(waiting);
    assert.notEqual(at, -1);
    served[at] = (served[at] ?? 0) + 1;
    turns.served(at, 1);
  }
  return served;
}

test('while all classes wait they are served by their weights', () => {
  assert.deepEqual(serve(new WeightedTurns(WEIGHTS), [9, 9, 9], 600), [300, 200, 100]);
});

test('any weights hold to within one request of each class', () => {
  const weight = fc.integer({ min: 1, max: 100 });
  fc.assert(
    fc.property(weight, weight, weight, fc.integer({ min: 1, max: 2000 }), (high, normal, low, times) => {
      const served = serve(new WeightedTurns({ high, normal, low }), [1, 1, 1], times);
      const sum = high + normal + low;
      [high, normal, low].forEach((share, at) => {
        const due = (times * share) / sum;
        assert.ok(Math.abs((served[at] ?? 0) - due) <= 3, `class ${at}: ${served[at]} of ${due}`);
      });
    }),
  );
});

test('shares are by cost: a class with requests of twice the cost gets half as many', () => {
  const turns = new WeightedTurns(WEIGHTS);
  const costs = [2, 1, 1];
  const served = [0, 0, 0];
  for (let time = 0; time < 450; time++) {
    const at = turns.next([1, 1, 1]);
    served[at] = (served[at] ?? 0) + 1;
    turns.served(at, costs[at] ?? 0);
  }
  assert.deepEqual(served, [150, 200, 100]);
});

test('a class that is alone gets everything, and none waits for nobody', () => {
  assert.deepEqual(serve(new WeightedTurns(WEIGHTS), [0, 0, 5], 50), [0, 0, 50]);
  assert.equal(new WeightedTurns(WEIGHTS).next([0, 0, 0]), -1);
});

test('a class that was idle does not make up for it', () => {
  const turns = new WeightedTurns(WEIGHTS);
  serve(turns, [0, 1, 1], 3000);
  turns.idle(0);
  assert.deepEqual(serve(turns, [1, 1, 1], 60), [30, 20, 10]);
});

test('anybody may stand back, and only who is trusted goes first', () => {
  assert.equal(grantedPriority('low', ['user']), 'low');
  assert.equal(grantedPriority('normal', []), 'normal');
  assert.equal(grantedPriority('high', ['user']), 'normal');
  assert.equal(grantedPriority('high', ['admin']), 'high');
  assert.equal(grantedPriority('high', undefined), 'high');
});
