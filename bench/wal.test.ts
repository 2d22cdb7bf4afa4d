import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { storedRecord } from '../engine/storage/stored-record.ts';
import { forEachRecord } from '../engine/storage/wal-frame.ts';
import { LogReader } from '../engine/storage/wal-reader.ts';
import { openFiles } from '../workers/wal/worker-log.ts';
import { diskFolder } from './disk-folder.ts';
import { LogWriter, RECORD_BYTES } from './durable-writers.ts';
import { flushedFigures, type LogUse, logFigures, reasonMisnamed, reasonUnsynced } from './log-use.ts';
import { LoggingCost } from './logging-cost.ts';
import { type DurableWriter, OutstandingWrites } from './outstanding-writes.ts';
import { jsonLines, tableText } from './report.ts';
import { ScenarioResult } from './result.ts';
import { judge } from './targets.ts';
import { durableFigures, runDurable } from './wal.bench.ts';

function emptyFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-bench-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Keeps what it is to write until the test says how much of it is durable. */
class SlowDisk implements DurableWriter {
  readonly writes: [first: number, count: number][] = [];
  #durable: (count: number) => void = () => {};

  write(first: number, count: number, durable: (count: number) => void): void {
    this.writes.push([first, count]);
    this.#durable = durable;
  }

  settle(count: number): void {
    this.#durable(count);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

test('as many writes follow as became durable, so that the same number is always out', () => {
  const disk = new SlowDisk();
  const writes = new OutstandingWrites(disk, 100);
  writes.start();
  disk.settle(30);
  disk.settle(70);
  disk.settle(50);
  assert.deepEqual(disk.writes, [
    [0, 100],
    [100, 30],
    [130, 70],
    [200, 50],
  ]);
  assert.equal(writes.written - writes.durable, 100);
});

test('a write counts from its own beginning, whatever portions become durable', () => {
  const disk = new SlowDisk();
  let nowUs = 0;
  const writes = new OutstandingWrites(disk, 10, () => nowUs);
  writes.start();
  writes.beginWindow();
  nowUs = 1000;
  disk.settle(5); // written at 0; five more are written at 1000
  nowUs = 3000;
  disk.settle(6); // five of 0, one of 1000
  const { writes: counted, windowMs, p50Us, p99Us } = writes.endWindow();
  assert.deepEqual([counted, windowMs], [11, 3]);
  assert.ok(Math.abs(p50Us - 2000) < 40, `latencies are 5 × 1000, 1 × 2000, 5 × 3000: p50 ${p50Us}`);
  assert.ok(Math.abs(p99Us - 3000) < 60, `p99 ${p99Us}`);
});

test('after a stop nothing more is written, and it waits for what is out', async () => {
  const disk = new SlowDisk();
  const writes = new OutstandingWrites(disk, 4);
  writes.start();
  let stopped = false;
  const end = writes.stop().then(() => {
    stopped = true;
  });
  disk.settle(3);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(stopped, false);
  disk.settle(1);
  await end;
  assert.deepEqual(disk.writes, [[0, 4]]);
});

test('more than was written can not become durable', () => {
  const disk = new SlowDisk();
  new OutstandingWrites(disk, 4).start();
  assert.throws(() => disk.settle(5));
});

test('the log that is measured holds every record that it calls durable, of 200 bytes each', async (t) => {
  const folder = emptyFolder(t);
  const failures: unknown[] = [];
  const writer = new LogWriter(folder, (cause) => failures.push(cause));
  const writes = new OutstandingWrites(writer, 16);
  writes.start();
  while (writes.durable < 64) await new Promise((resolve) => setImmediate(resolve));
  await writes.stop();
  await writer.close();
  assert.deepEqual(failures, []);

  const files = openFiles(folder);
  const reader = new LogReader({
    epoch: 1,
    worker: 0,
    names: [...files.list()],
    read: (name) => files.read(name),
    accepted: [],
  });
  const keys: string[] = [];
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    forEachRecord(frame, (kind, map, image) => {
      const { key, node, value } = storedRecord(kind, map, image);
      assert.equal(key.length + node.length + value.length, RECORD_BYTES);
      keys.push(Buffer.from(key).toString());
    });
  }
  assert.deepEqual(
    keys,
    Array.from({ length: writes.durable }, (_, record) => `k-${String(record).padStart(7, '0')}`),
  );
});

test('a record costs the same bytes of a frame from an image and from the store', async (t) => {
  const cost = new LoggingCost(emptyFolder(t));
  assert.equal(cost.append(10), cost.logged(10));
  assert.ok(cost.logged(10) > 10 * RECORD_BYTES);
  assert.ok(cost.written(10) > 10 * RECORD_BYTES);
  await cost.close();
});

test('a writer that cannot have its folder has no figures, but a reason', async (t) => {
  const folder = join(emptyFolder(t), 'file', 'folder');
  writeFileSync(join(folder, '..'), '');
  for (const writer of ['log', 'fdatasync'] as const) {
    const answer = await runDurable({ writer, folder, outstanding: 4, warmUpMs: 10, measureMs: 10 });
    assert.ok('failure' in answer, writer);
    assert.match(answer.failure, /ENOTDIR|EEXIST/);
  }
});

test('folders in memory are passed over, and nothing is measured without a disk', () => {
  const nameOf = (folder: string) => (folder === '/disk' ? 'ext4' : 'tmpfs');
  assert.equal(diskFolder(['/memory', '/disk'], nameOf), '/disk');
  assert.throws(() => diskFolder(['/memory'], nameOf), /TMPDIR/);
});

test('a server that logs otherwise than its row says makes the run void', () => {
  const before: LogUse = { atMs: 0, frames: 100, syncs: 50, rowsFlushed: 0 };
  const after = (frames: number, syncs: number, rowsFlushed = 0): LogUse => {
    return { ...before, frames: 100 + frames, syncs: 50 + syncs, rowsFlushed };
  };
  const rows = [
    ['log-off', 0, 0, true],
    ['log-off', 1, 0, false],
    ['fsync-off', 10, 0, true],
    ['fsync-off', 10, 1, false],
    ['fsync-off', 0, 0, false],
    ['fsync-10', 10, 1, true],
    ['fsync-10', 10, 0, false],
    ['fsync-10', 10, 10, false],
    ['fsync-always', 10, 10, true],
    ['fsync-always', 10, 5, false],
    ...(['lattice', 'lattice-gc', 'fused'] as const).flatMap(
      (variant) =>
        [
          [variant, 10, 1, true],
          [variant, 10, 0, false],
          [variant, 10, 10, false],
          [variant, 0, 0, false],
        ] as const,
    ),
    ...(['alone', 'alone-gc', 'w1-g1-fused'] as const).flatMap(
      (variant) =>
        [
          [variant, 0, 0, true],
          [variant, 1, 0, false],
          [variant, 0, 1, false],
        ] as const,
    ),
    ['flushing', 10, 1, false],
    ['raw', 0, 0, true],
  ] as const;
  for (const [variant, frames, syncs, isRight] of rows)
    assert.equal(reasonMisnamed(variant, before, after(frames, syncs)) === undefined, isRight, `${variant} ${frames} ${syncs}`);
  assert.equal(reasonMisnamed('flushing', before, after(10, 1, 500)), undefined);
  assert.match(String(reasonMisnamed('flushing', before, after(10, 10, 500))), /^void: 10 frames logged, 10 syncs and 500 rows/);
  assert.match(String(reasonMisnamed('alone', before, after(0, 0, 500))), /which is not alone$/);
});

test('a run that asked for PERSISTED is void when the log was not synced in it', () => {
  const before: LogUse = { atMs: 0, frames: 100, syncs: 50, rowsFlushed: 0 };
  assert.equal(reasonUnsynced(before, { ...before, frames: 110, syncs: 51 }), undefined);
  const unsynced = reasonUnsynced(before, { ...before, frames: 110 });
  assert.equal(unsynced, 'void: 10 frames logged and 0 syncs, which is not PERSISTED');
  assert.match(String(reasonUnsynced(before, { ...before, syncs: Number.NaN })), /^void/);
});

test('a server without counters of a log is no row of it', () => {
  const none: LogUse = { atMs: 0, frames: Number.NaN, syncs: Number.NaN, rowsFlushed: Number.NaN };
  assert.match(String(reasonMisnamed('fsync-10', none, none)), /^void: NaN frames/);
});

test('ops of a frame and of a sync are told, and what did not happen is left out', () => {
  const before: LogUse = { atMs: 1000, frames: 5, syncs: 2, rowsFlushed: 100 };
  const after = { atMs: 3000, frames: 25, syncs: 2, rowsFlushed: 4100 };
  assert.deepEqual(logFigures(before, after, 2000), { opsPerLogFrame: 100 });
  assert.deepEqual(flushedFigures(before, after), { rowsFlushedPerSecond: 2000 });
  assert.deepEqual(flushedFigures(before, { ...after, rowsFlushed: 100 }), {});
});

test('the p50 of a writer is told beside twice the disk and a millisecond', () => {
  const figures = durableFigures({ writes: 3000, windowMs: 1500, cpuMs: 500, p50Us: 1500, p99Us: 4000 }, 250);
  assert.deepEqual(figures, { opsPerSecond: 2000, opsPerCpuSecond: 6000, p50Us: 1500, p99Us: 4000, p50ToBound: 1 });
});

test('a goal without a gate has no verdict on a gate, and what was not measured is said with its reason', () => {
  const result = new ScenarioResult({ scenario: 'LOG', title: '', ceilings: {} });
  result.add('log-1024', { opsPerSecond: 500, p50ToBound: 1.25 });
  result.notMeasured('lmdb', 'no network');
  assert.deepEqual(
    judge(result).map(({ gateMet, stretchMet }) => [gateMet, stretchMet]),
    [[undefined, false]],
  );
  assert.match(tableText(result), /no gate, stretch ≤ 1 not met/);
  assert.match(tableText(result), /lmdb +not measured: no network/);
  assert.deepEqual(JSON.parse(jsonLines(result)[1] ?? ''), { scenario: 'LOG', variant: 'lmdb', notMeasured: 'no network' });
});
