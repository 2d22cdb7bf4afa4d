/** What results prove and what they do not; the bars of this project name things that exist. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { type Bar, judgeBar, parseBars } from './bars.ts';
import { FAULTS } from './faults/faults.ts';
import { reliabilityPage } from './reliability-page.ts';
import { PROJECT_ROOT, type Result } from './results.ts';

const BAR: Bar = {
  id: 'kill',
  promise: 'Nothing is lost',
  how: 'kill -9',
  full: 'for ever',
  proofs: [{ run: 'chaos kill', goal: 100 }, { run: 'a.test.ts' }],
  open: ['the rest'],
};

function result(changes: Partial<Result>): Result {
  const machine = { date: '2026-11-21T00:00:00.000Z', commit: 'abc', node: 'v20', cpus: 2, notes: {}, seconds: 1 };
  return { run: 'chaos kill', title: '', amount: 60, unit: 'cycles', failures: 0, ...machine, ...changes };
}

const TESTS = result({ run: 'a.test.ts', unit: 'tests', amount: 3 });

test('a bar is proven when all its proofs are, and cycles add up to the goal', () => {
  assert.equal(judgeBar(BAR, []).state, 'not proven');
  assert.equal(judgeBar(BAR, [TESTS]).state, 'in part');
  assert.equal(judgeBar(BAR, [TESTS, result({})]).state, 'in part');
  assert.equal(judgeBar(BAR, [TESTS, result({}), result({})]).state, 'proven');
});

test('a failure stands until it is followed by a clean run, and what was clean before it does not count', () => {
  const failed = result({ failures: 1, amount: 40 });
  assert.equal(judgeBar(BAR, [TESTS, result({ amount: 500 }), failed]).state, 'failed');
  const judged = judgeBar(BAR, [TESTS, result({ amount: 500 }), failed, result({})]);
  assert.equal(judged.state, 'in part');
  assert.equal(judged.proofs[0]?.clean, 60);
});

test('the page tells of each proof, and says not proven where there is no result', () => {
  const page = reliabilityPage([judgeBar(BAR, [result({ seed: 7, checked: 1234 })])]);
  assert.match(
    page,
    /\| `npm run chaos -- --fault kill` \| 60 cycles \| 60 of 100 \| 1234 \| 7 \| 2026-11-21 \| abc \| v20, 2 \| in part \|/,
  );
  assert.match(page, /a\.test\.ts\) \| never .*not proven/);
  assert.match(page, /\* the rest/);
});

test('text that is no list of bars is refused', () => {
  for (const text of ['{}', '[{}]', '[{"id":"x","promise":"","how":"","full":"","open":[],"proofs":[{}]}]'])
    assert.throws(() => parseBars(text), TypeError);
});

test('each bar of this project names faults and test files that exist, and each fault has a bar', () => {
  const bars = parseBars(readFileSync(join(PROJECT_ROOT, 'reliability', 'bars.json'), 'utf8'));
  const runs = bars.flatMap(({ proofs }) => proofs.map(({ run }) => run));
  for (const run of runs) {
    if (run.endsWith('.ts')) assert.ok(existsSync(join(PROJECT_ROOT, run)), `${run} does not exist`);
    else assert.ok(run === 'soak' || FAULTS.some(({ name }) => run === `chaos ${name}`), `${run} cannot be run`);
  }
  for (const { name } of FAULTS) assert.ok(runs.includes(`chaos ${name}`), `${name} proves nothing`);
});
