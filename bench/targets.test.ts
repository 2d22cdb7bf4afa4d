import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonLines, tableText } from './report.ts';
import { ScenarioResult } from './result.ts';
import { judge, notJudged, TARGETS } from './targets.ts';

function resultOf(scenario: string, rates: Readonly<Record<string, number>>): ScenarioResult {
  const result = new ScenarioResult({ scenario, title: '', ceilings: {} });
  for (const [variant, rate] of Object.entries(rates)) result.add(variant, { opsPerSecond: rate, opsPerCpuSecond: rate });
  return result;
}

test('no target is named twice in its scenario for the same variant', () => {
  const names = TARGETS.map(({ scenario, variant, label }) => `${scenario} ${variant} ${label}`);
  assert.equal(new Set(names).size, names.length);
});

test('Redis commands in pipelines have bounds per CPU second and per second', () => {
  const verdicts = judge(resultOf('RESP-SET-P16', { alone: 70, redis: 100 }));
  assert.deepEqual(
    verdicts.map(({ target, measured, gateMet, stretchMet }) => [target.label, measured, gateMet, stretchMet]),
    [
      ['per CPU ÷ redis', 0.7, true, true],
      ['rate ÷ redis', 0.7, true, false],
    ],
  );
});

test('what a kernel in WebAssembly is expected to reach is a goal without a gate', () => {
  const verdicts = judge(resultOf('F10', { lattice: 30, raw: 100 })).filter(({ target }) => target.label.endsWith('WASM'));
  assert.deepEqual(
    verdicts.map(({ target, gateMet, stretchMet }) => [target.label, gateMet, stretchMet]),
    [
      ['lattice, rate ÷ raw, WASM', undefined, false],
      ['lattice, per CPU ÷ raw, WASM', undefined, true],
    ],
  );
});

test('a target of which all runs were void, or whose reference could not be run, is told as not judged', () => {
  const lost = resultOf('IDLE', {});
  lost.addVoid('lattice', 'void: no answer');
  assert.deepEqual(judge(lost), []);
  assert.deepEqual(
    notJudged(lost).map(({ target, reason }) => [target.label, reason]),
    [['% of a core', 'all runs of lattice were void']],
  );
  assert.match(tableText(lost), /→ % of a core +not judged: all runs of lattice were void/);
  const line = { scenario: 'IDLE', variant: 'lattice', label: '% of a core', notJudged: 'all runs of lattice were void' };
  assert.deepEqual(JSON.parse(jsonLines(lost)[0] ?? ''), line);

  const alone = resultOf('RESP-GET-P16', { alone: 70 });
  alone.notMeasured('redis', 'not on PATH');
  assert.deepEqual(
    notJudged(alone).map(({ reason }) => reason),
    ['redis was not measured', 'redis was not measured'],
  );
});

test('a target whose variant has a valid run is judged, and one that took no part is not mentioned', () => {
  const result = resultOf('F1', { lattice: 50, raw: 100 });
  result.addVoid('lattice', 'void: 2 ops sent, 1 applied');
  assert.equal(judge(result).length, 2);
  assert.deepEqual(notJudged(result), []);
});
