import assert from 'node:assert/strict';
import test from 'node:test';
import { ScenarioResult } from '../result.ts';
import { type Measured, measuredOf, type Session } from './measured.ts';
import { barsOf } from './plots.ts';
import { resultsPage } from './results-page.ts';
import { mergedResults, sessionOfNow } from './results-store.ts';

const PART = { name: 'ingest', title: 'Writes', about: 'What is done.' };

function session(startedAt: string, quick = false): Session {
  const machine = { node: 'v20.1.0', cpu: 'A CPU', cores: 2, memoryGb: 24, system: 'linux 6' };
  return { startedAt, commit: 'abc1234', peers: { lmdb: '3.5.6' }, quick, ...machine };
}

function measured(startedAt = '2026-01-02T03:04:05.000Z', quick = false): Measured {
  const result = new ScenarioResult({ scenario: 'F10', title: 'ten ops', ceilings: { lattice: 'raw', raw: 'raw' } });
  for (const rate of [1_000_000, 1_200_000, 900_000]) {
    result.add('lattice', { opsPerSecond: rate, opsPerCpuSecond: rate / 2, p50Us: 100, p99Us: 900, rowsFlushedPerSecond: 7 });
  }
  result.add('raw', { opsPerSecond: 8_000_000, opsPerCpuSecond: 8_000_000, p50Us: 10, p99Us: 20 });
  result.addVoid('lattice', 'void: sent 10, applied 9');
  result.addVoid('pm', 'void: no answer');
  result.notMeasured('peer', 'not installed | here');
  return measuredOf('ingest', result, session(startedAt, quick));
}

test('the page shows medians with their spread, ratios, void runs with reasons, what was not run, and missed gates', () => {
  const page = resultsPage([PART, { name: 'other', title: 'Never run', about: '' }], [measured()], new Map());
  assert.match(
    page,
    /\| lattice \| 1\.00M \(900k–1\.20M\) \| 500k \(450k–600k\) \| 100 µs \(100 µs–100 µs\) .*\| 0\.0625 of raw \| 3, 1 void \|/,
  );
  assert.match(page, /\| raw \| 8\.00M .* 20\.0 µs \(20\.0 µs–20\.0 µs\) \| reference \| 1 \|/);
  assert.match(page, /\| \| lattice \|\n\|---\|---\|\n\| rows\/s into Postgres meanwhile \| 7 \(7–7\) \|/);
  assert.match(page, /\* a run of lattice was void: sent 10, applied 9/);
  assert.match(page, /\* a run of pm was void: no answer/);
  assert.match(page, /\| peer \| (\| )*not run: not installed \\\| here \|/);
  assert.match(page, /rate ÷ raw = 0\.125, must be ≥ 0\.18: \*\*missed\*\*/);
  assert.match(page, /rate ÷ postMessage: \*\*not judged\*\*, all runs of pm were void/);
  assert.match(page, /per CPU second of the server/);
  assert.match(page, /2026-01-02 03:04 \| abc1234 \| A CPU, 2 cores, 24 GB .*lmdb 3\.5\.6 \| full \| F10/);
  assert.doesNotMatch(page, /Never run/);
});

test('of pieces without a server no figure is said to be of one, and a ratio by time is marked', () => {
  const scan = new ScenarioResult({ scenario: 'SCAN', title: 'frames', ceilings: { scanner: 'msgpackr' } });
  scan.add('scanner', { opsPerSecond: 1830, nsPerOp: 55 });
  scan.add('msgpackr', { opsPerSecond: 1000, nsPerOp: 100 });
  const log = new ScenarioResult({ scenario: 'LOG', title: 'records', ceilings: { log: 'lmdb' } });
  log.add('log', { opsPerSecond: 200, opsPerCpuSecond: 48 });
  log.add('lmdb', { opsPerSecond: 100, opsPerCpuSecond: 100 });
  const now = session('2026-01-02T03:04:05.000Z');
  const parts = [
    { ...PART, name: 'ring' },
    { ...PART, name: 'wal' },
  ];
  const page = resultsPage(parts, [measuredOf('ring', scan, now), measuredOf('wal', log, now)], new Map());
  assert.match(page, /\| scanner \| 1830 \(1830–1830\) \| 1\.83 of msgpackr \(wall\) \| 1 \|/);
  assert.match(page, /\| ns an op \| 55 \(55–55\) \| 100 \(100–100\) \|/);
  assert.match(page, /\| per second \| per CPU second \| of its reference, per CPU \| runs \|/);
  assert.match(page, /\| log \| .*\| 0\.48 of lmdb \| 1 \|/);
});

test('results of before targets could be not judged are shown', () => {
  const { notJudged: _, ...older } = measured();
  assert.doesNotMatch(resultsPage([PART], [older], new Map()), /not judged/);
});

test('a session names the socket library of the server, and only peers whose version is known', () => {
  const { peers } = sessionOfNow(true);
  assert.match(peers['uWebSockets.js'] ?? '', /^\d+\.\d+/);
  assert.ok(
    Object.values(peers).every((version) => /^\d/.test(version)),
    JSON.stringify(peers),
  );
});

test('a plot has a bar for each variant that has its figure', () => {
  const bars = barsOf([measured()], { figure: 'opsPerSecond', heading: '' });
  assert.deepEqual(bars, [
    { scenario: 'F10', variant: 'lattice', side: 'Lattice', median: 1_000_000, min: 900_000, max: 1_200_000 },
    { scenario: 'F10', variant: 'raw', side: 'others', median: 8_000_000, min: 8_000_000, max: 8_000_000 },
  ]);
  assert.deepEqual(barsOf([measured()], { figure: 'unknown', heading: '' }), []);
});

test('what is measured anew takes the place of what was, but a short run never that of a full one', () => {
  const full = measured('2026-01-01T00:00:00.000Z');
  const short = measured('2026-01-02T00:00:00.000Z', true);
  const newer = measured('2026-01-03T00:00:00.000Z');
  const merged = (kept: Measured[], fresh: Measured[]): Measured[] => mergedResults(kept, fresh, new Set(['F10']));
  assert.deepEqual(merged([full], [short]), [full]);
  assert.deepEqual(merged([short], [newer]), [newer]);
  assert.deepEqual(merged([], [short]), [short]);
  assert.deepEqual(
    merged([short], [measured('2026-01-04T00:00:00.000Z', true)])[0]?.session.startedAt,
    '2026-01-04T00:00:00.000Z',
  );
});

test('of a part goes what another machine has measured, and so does a scenario that there is no longer', () => {
  const known = measured('2026-01-01T00:00:00.000Z');
  const fresh = measured('2026-01-02T00:00:00.000Z');
  const other = { ...known, scenario: 'F1' };
  const elsewhere = { ...other, session: { ...other.session, cpu: 'Another CPU' } };
  const scenarios = new Set(['F1', 'F10']);
  assert.deepEqual(mergedResults([other], [fresh], scenarios), [other, fresh]);
  assert.deepEqual(mergedResults([elsewhere], [fresh], scenarios), [fresh]);
  const otherPart = { ...elsewhere, part: 'other part' };
  assert.deepEqual(mergedResults([otherPart], [fresh], scenarios), [otherPart, fresh]);
  assert.deepEqual(mergedResults([other], [fresh], new Set(['F10'])), [fresh]);
  assert.deepEqual(mergedResults([elsewhere], [], scenarios), [elsewhere], 'the page is written anew from what is kept');
});
