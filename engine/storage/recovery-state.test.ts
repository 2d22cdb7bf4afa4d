import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nextRecoveryState, RECOVERY_LIMITS, type RecoveryFacts, type RecoveryState } from './recovery-state.ts';

const WELL: RecoveryFacts = {
  isLoading: false,
  isRefused: false,
  failuresInARow: 0,
  successesInARow: 10,
  stagedRecords: 5,
  lagMs: 20,
};
const { failuresMax, successesMin, lagMsMax } = RECOVERY_LIMITS;
const FAILING = { failuresInARow: failuresMax, successesInARow: 0, lagMs: 10 * lagMsMax };

const TABLE: readonly [title: string, from: RecoveryState, facts: Partial<RecoveryFacts>, to: RecoveryState][] = [
  ['a normal worker stays normal', 'normal', {}, 'normal'],
  ['one failure less than the bound is no trouble', 'normal', { ...FAILING, failuresInARow: failuresMax - 1 }, 'normal'],
  ['failures in a row degrade', 'normal', FAILING, 'degraded'],
  ['more failures change nothing', 'degraded', { ...FAILING, failuresInARow: 99 }, 'degraded'],
  ['without a success it stays degraded', 'degraded', { ...FAILING, failuresInARow: 1 }, 'degraded'],
  ['the first success begins the recovery', 'degraded', { successesInARow: 1, lagMs: 9 * lagMsMax }, 'recovering'],
  ['enough successes do not suffice while the backlog is old', 'recovering', { lagMs: lagMsMax + 1 }, 'recovering'],
  [
    'a young backlog does not suffice without enough successes',
    'recovering',
    { successesInARow: successesMin - 1 },
    'recovering',
  ],
  [
    'enough successes and a young backlog are a recovery',
    'recovering',
    { successesInARow: successesMin, lagMs: lagMsMax },
    'normal',
  ],
  ['with nothing left to flush one success suffices', 'recovering', { successesInARow: 1, stagedRecords: 0, lagMs: 0 }, 'normal'],
  [
    'a failure on the way back holds it up',
    'recovering',
    { failuresInARow: 1, successesInARow: 0, stagedRecords: 0 },
    'recovering',
  ],
  ['failures on the way back degrade again', 'recovering', FAILING, 'degraded'],
  ['a worker that loads is recovering', 'normal', { isLoading: true }, 'recovering'],
  ['also when its flushes fail', 'recovering', { ...FAILING, isLoading: true }, 'recovering'],
  [
    'one that has loaded and has nothing to flush is normal',
    'recovering',
    { successesInARow: 0, stagedRecords: 0, lagMs: 0 },
    'normal',
  ],
  ['one that has replayed a log first brings it to the store', 'recovering', { successesInARow: 0 }, 'recovering'],
  ['refused while normal: failed', 'normal', { isRefused: true }, 'failed'],
  ['refused while degraded: failed', 'degraded', { ...FAILING, isRefused: true }, 'failed'],
  ['refused while loading: failed', 'recovering', { isLoading: true, isRefused: true }, 'failed'],
  ['failed is for good', 'failed', {}, 'failed'],
];

describe('the next recovery state', () => {
  for (const [title, from, facts, to] of TABLE) {
    test(title, () => assert.equal(nextRecoveryState(from, { ...WELL, ...facts }), to));
  }
});

test('an outage from its begin to its end', () => {
  const seen: RecoveryState[] = [];
  let state: RecoveryState = 'recovering';
  const observe = (facts: Partial<RecoveryFacts>): void => {
    state = nextRecoveryState(state, { ...WELL, ...facts });
    if (seen.at(-1) !== state) seen.push(state);
  };
  observe({ isLoading: true, stagedRecords: 0 });
  observe({ stagedRecords: 0, successesInARow: 0 });
  for (let failures = 1; failures <= 20; failures++)
    observe({ failuresInARow: failures, successesInARow: 0, lagMs: failures * 1000 });
  for (let successes = 1; successes <= 20; successes++) observe({ successesInARow: successes, lagMs: 20_000 - successes * 1000 });
  observe({ stagedRecords: 0, lagMs: 0 });
  assert.deepEqual(seen, ['recovering', 'normal', 'degraded', 'recovering', 'normal']);
});
