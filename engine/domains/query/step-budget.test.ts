import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QUERY_STEPS_MAX, RowSteps, StepBudget } from './step-budget.ts';

const REFUSED = { code: 'BAD_REQUEST' };

test('a budget is spent to its last step, and refuses the next', () => {
  const budget = new StepBudget(10);
  budget.spend(10);
  assert.throws(() => budget.spend(1), REFUSED);
  assert.throws(() => new StepBudget(10).spend(11), REFUSED);
  budget.refill(5).spend(5);
  assert.equal(budget.left, 0);
});

test('queries that judge one row share its steps, and those behind a costly crowd keep enough for a row of usual size', () => {
  const row = new RowSteps();
  row.begin();
  const granted = Array.from({ length: 20 }, () => {
    const budget = row.next();
    const steps = budget.left;
    budget.spend(steps);
    return steps;
  });
  assert.equal(granted[0], QUERY_STEPS_MAX);
  assert.ok(row.spent < 5 * QUERY_STEPS_MAX, 'not twenty times as much');
  assert.ok((granted.at(-1) ?? 0) >= 10_000, 'a cheap query never ends for what others cost');
  row.begin();
  assert.equal(row.spent, 0);
  assert.equal(row.next().left, QUERY_STEPS_MAX);
});

test('what was spent on a row counts all queries that judged it', () => {
  const row = new RowSteps();
  row.begin();
  row.next().spend(100);
  row.next().spend(20);
  row.next();
  assert.equal(row.spent, 120);
});
