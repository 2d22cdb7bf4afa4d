import assert from 'node:assert/strict';
import test from 'node:test';
import { type Figures, ScenarioResult } from '../result.ts';
import { type Measured, measuredOf } from './measured.ts';
import { ratioTables } from './ratio-tables.ts';

function measured(scenario: string, figures: Readonly<Record<string, Figures>>, voids: readonly string[] = []): Measured {
  const result = new ScenarioResult({ scenario, title: '', ceilings: {} });
  for (const [variant, figure] of Object.entries(figures)) result.add(variant, figure);
  for (const variant of voids) result.addVoid(variant, 'void: lost');
  return measuredOf('part', result, {
    startedAt: '2026-01-02T03:04:05.000Z',
    commit: 'abc1234',
    node: 'v20.1.0',
    cpu: 'A CPU',
    cores: 2,
    memoryGb: 24,
    system: 'linux 6',
    peers: {},
    quick: false,
  });
}

test('Lattice is divided by raw sockets, and what a variant does not have is left open', () => {
  const tables = ratioTables([
    measured('F10', {
      lattice: { opsPerSecond: 1_250_000, opsPerCpuSecond: 800_000, p50Us: 200, p99Us: 900 },
      raw: { opsPerSecond: 5_000_000, opsPerCpuSecond: 8_000_000, p50Us: 100, p99Us: 300, generatorCores: 0.5 },
    }),
    measured('W50', {
      lattice: { opsPerSecond: 100, opsPerCpuSecond: 50, p50Us: 300, p99Us: 900 },
      raw: { opsPerSecond: 400, opsPerCpuSecond: 200, p50Us: 100, p99Us: 300, generatorCores: 0.97 },
    }),
    measured('SYNC-COLD', {
      lattice: { opsPerSecond: 100, opsPerCpuSecond: 50 },
      replay: { opsPerSecond: 200, opsPerCpuSecond: 200 },
    }),
  ]);
  assert.match(tables, /^Measured on 2026-01-02 \(abc1234\); 2 cores of A CPU, 24 GB, linux 6, Node 20\.1\.0\. Medians/);
  assert.match(tables, /^\| 10 ops a batch, 50 × 32 \| 1\.25M a second \| 0\.25 \| 0\.1 \| 2 \| 3 \|$/m);
  assert.match(tables, /^\| 10 ops a batch, 50 connections wait .* \| ≤ 0\.25 \| 0\.25 \| ≥ 3 \| ≥ 3 \|$/m);
  assert.match(tables, /^\| A client with nothing syncs 100 000 keys \| 100 a second \| ≤ 0\.5 \| 0\.25 \| – \| – \|$/m);
  assert.match(tables, /\| naive not run \|$/m);
  assert.doesNotMatch(tables, /log off/);
});

test('Lattice is divided by each peer; those without figures are named as void or not run', () => {
  const rate = (opsPerSecond: number): Figures => ({ opsPerSecond });
  const tables = ratioTables([
    measured('W2-UNIQUE100', { 'lattice-told': rate(3000), tinybase: rate(2000), 'y-websocket': rate(6000) }, ['gun']),
    measured('W6', { lattice: { rssBytesPerRecord: 270 }, redis: { rssBytesPerRecord: 135 } }),
  ]);
  assert.match(tables, /\| 3000 a second \| y-websocket 0\.5, tinybase 1\.5, automerge-repo not run, gun void \|$/m);
  assert.match(
    tables,
    /^\| Memory of a million records, without that of Postgres \(less is better\) \| 270 B a record \| redis 2, js-map not run,/m,
  );
});

test('a ratio says which of the two the generator has bounded', () => {
  const rows = (own: number, other: number): string =>
    ratioTables([
      measured('F100', {
        lattice: { opsPerSecond: 100, opsPerCpuSecond: 50, p50Us: 300, p99Us: 900, generatorCores: own },
        raw: { opsPerSecond: 400, opsPerCpuSecond: 200, p50Us: 100, p99Us: 300, generatorCores: other },
      }),
    ]);
  assert.match(rows(0.5, 0.5), /\| 0\.25 \| 0\.25 \| 3 \| 3 \|$/m);
  assert.match(rows(0.5, 0.9), /\| ≤ 0\.25 \| 0\.25 \| ≥ 3 \| ≥ 3 \|$/m);
  assert.match(rows(0.9, 0.5), /\| ≥ 0\.25 \| 0\.25 \| ≤ 3 \| ≤ 3 \|$/m);
  assert.match(rows(0.9, 0.9), /\| ~ 0\.25 \| 0\.25 \| ~ 3 \| ~ 3 \|$/m);
});

test('on a schedule a row says who keeps up, and who does not has no times', () => {
  const at = (opsPerSecond: number, p99Us: number): Figures => ({ opsPerSecond, opsPerCpuSecond: 100, p50Us: 10, p99Us });
  const tables = ratioTables([
    measured('FAN-1000x500', {
      'lattice-event': at(980, 4000),
      'lattice-query': at(1000, 900_000),
      'raw-joined': at(1000, 2000),
      'redis-pubsub': at(990, 8000),
      'socket.io': at(320, 1_000_000),
    }),
  ]);
  assert.match(tables, /^\| Map events to 1000 subscribers, 500 writes\/s \| 980 a second \| keeps up \| 1 \| 1 \| 2 \|$/m);
  assert.match(
    tables,
    /^\| A live query of 1000 subscribers and the events, 500 writes\/s \| 1000 a second \| 0\.5 of what was due \| 1 \| – \| – \|$/m,
  );
  assert.match(tables, /\| p99 4\.00 ms \| redis-pubsub 0\.5, socket\.io did 0\.32 of what was due, y-websocket not run,/);
});

test('one session is named once, however many commands it took', () => {
  const [first, second] = [measured('F1', { lattice: { opsPerSecond: 1 } }), measured('F10', { lattice: { opsPerSecond: 1 } })];
  const later = { ...second, session: { ...second.session, startedAt: '2026-01-02T05:00:00.000Z' } };
  assert.match(ratioTables([first, later]), /^Measured on 2026-01-02 \(abc1234\); 2 cores/);
});

test('rows of another machine than the newest are marked, and both machines are told', () => {
  const figures = { lattice: { opsPerSecond: 1, opsPerCpuSecond: 1 }, raw: { opsPerSecond: 2, opsPerCpuSecond: 4 } };
  const [first, second] = [measured('F1', figures), measured('F10', figures)];
  const elsewhere = {
    ...second,
    session: { ...second.session, startedAt: '2026-01-01T05:00:00.000Z', system: 'linux 5', commit: 'def5678' },
  };
  const tables = ratioTables([first, elsewhere]);
  assert.match(
    tables,
    /^Measured on 2026-01-02 \(abc1234\); .*linux 6, Node 20\.1\.0; rows with † on 2026-01-01 \(def5678\); .*linux 5, Node 20\.1\.0\. Medians/,
  );
  assert.match(tables, /^\| 1 op a batch, 50 connections × 64 in flight \|/m);
  assert.match(tables, /^\| 10 ops a batch, 50 × 32 † \|/m);
  assert.match(tables, /^\| Batches of 10, a server of one thread with a Map † \|/m);
});
