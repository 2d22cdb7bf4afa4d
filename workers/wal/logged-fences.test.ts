/** Fencing tokens over kills, new segments and new runs: what a worker knew when it answered is known again. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { FenceTable } from '../../engine/domains/coordination/fence-table.ts';
import { ForgetfulLogFiles } from '../../engine/storage/forgetful-log-files.ts';
import type { LogFiles } from '../../engine/storage/log-files.ts';
import { turn } from '../../engine/storage/virtual-time.ts';
import type { FrameWriter } from '../../engine/storage/wal-frame.ts';
import { parseSegmentName } from '../../engine/storage/wal-segment.ts';
import { EPOCH, LogUnderTest, seeded, WORKER } from '../testing/log-under-test.ts';
import { carryFences } from './logged-fences.ts';
import { replayPast } from './worker-log.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A log that carries `fences`, as a worker opens it. */
function run(files: ForgetfulLogFiles, fences: FenceTable, epoch = EPOCH): LogUnderTest {
  return new LogUnderTest(files, { epoch, carry: (frame) => carryFences(fences, frame) });
}

function grant(log: LogUnderTest, fences: FenceTable, lock: string, token: number): void {
  assert.equal(fences.raise(lock, token), true);
  log.log.frame.appendFence(utf8(lock), token);
  assert.equal(log.end(), true);
}

async function replayed(files: LogFiles, epoch: number, isReplacement = false): Promise<FenceTable> {
  const fences = new FenceTable();
  await replayPast({
    files,
    epoch,
    worker: WORKER,
    database: 'node-1',
    partitions: [1, 2, 270],
    folder: '/nonexistent',
    isReplacement,
    fences,
    onRecord: () => {},
  });
  return fences;
}

test('a kill forgets no token', async () => {
  const fences = new FenceTable();
  const log = run(new ForgetfulLogFiles(), fences);
  grant(log, fences, 'a', 5);
  grant(log, fences, 'b', 6);
  log.writeMany(3);
  grant(log, fences, 'a', 7);
  for (const known of [await replayed(log.files, EPOCH + 1), await replayed(log.files, EPOCH, true)]) {
    assert.deepEqual(
      [known.admits('a', 6), known.admits('a', 7), known.admits('b', 5), known.admits('b', 6)],
      [false, true, false, true],
    );
  }
});

test('segments come and go, and whatever is left has every token', async () => {
  const fences = new FenceTable();
  const log = run(new ForgetfulLogFiles(), fences);
  const random = seeded(3);
  let token = 0;
  for (let step = 0; step < 400; step++) {
    const what = random();
    if (what < 0.2) grant(log, fences, `lock ${Math.floor(random() * 20)}`, ++token);
    else if (what < 0.6) log.writeMany(2, 1500);
    else if (what < 0.8) log.flushAll();
    else {
      log.tick(); // and a kill right here
      await Promise.resolve();
    }
    const known = await replayed(log.files, EPOCH + 1);
    for (const [lock, newest] of fences.entries()) {
      assert.equal(known.admits(lock, newest - 1), false, `${lock}: ${newest - 1} after step ${step}`);
      assert.equal(known.admits(lock, newest), true, `${lock}: ${newest} after step ${step}`);
    }
  }
  assert.ok(log.log.segments < 400 && token > 50);
});

test('a token that was synced survives a power loss at any moment, though segments come and go', async () => {
  const fences = new FenceTable();
  const log = run(new ForgetfulLogFiles(), fences);
  const random = seeded(5);
  grant(log, fences, 'a', 5);
  await log.log.synced(log.log.sequence);
  for (let step = 0; step < 200; step++) {
    log.writeMany(2, 1500);
    log.time.advance(3);
    if (random() < 0.5) log.flushAll();
    if (random() < 0.3) log.tick();
    if (random() < 0.5) await turn();
    const known = await replayed(log.files.crash(random, 'dropped'), EPOCH + 1);
    assert.equal(known.admits('a', 4), false, `after step ${step}`);
  }
  assert.ok(log.log.segments < 50, `${log.log.segments} segments are left`);
});

test('a segment stays until what the next one carries on is on the disk, though others have come behind that meanwhile', async () => {
  const fences = new FenceTable();
  const log = run(new ForgetfulLogFiles(), fences);
  grant(log, fences, 'a', 5);
  log.writeMany(5, 1500);
  await log.log.synced(log.log.sequence);
  const [first, ...others] = log.files.list();
  assert.deepEqual(others, []);
  assert.ok(first !== undefined);
  log.files.holdsSyncs = true;
  while (log.log.segments < 3) log.writeMany(1, 12_000);
  log.flushAll();
  for (let wait = 0; wait < 10; wait++) {
    log.tick();
    await turn();
  }
  assert.ok(log.files.list().includes(first));
  const known = await replayed(
    log.files.crash(() => 0.1, 'dropped'),
    EPOCH + 1,
  );
  assert.deepEqual([known.admits('a', 4), known.admits('a', 5)], [false, true]);
  log.files.holdsSyncs = false;
  log.files.releaseSyncs();
  for (let wait = 0; wait < 10; wait++) {
    await turn();
    log.tick();
  }
  assert.ok(!log.files.list().includes(first), 'then it goes');
});

test('a segment that begins with tokens and a record goes when it is old: it may be the only one with a record that was removed', async () => {
  const fences = new FenceTable();
  const carry = (frame: FrameWriter): boolean => carryFences(fences, frame);
  const log = new LogUnderTest(new ForgetfulLogFiles(), { retireAfterMs: 1000, carry });
  grant(log, fences, 'a', 5);
  while (log.log.segments < 2) log.write(1500);
  const old = log.log.sequence;
  for (let round = 0; round < 20; round++) {
    log.flushAll();
    log.time.advance(5000);
    log.tick();
    log.end();
    log.log.requestSync();
    await turn();
  }
  const firstSequences = log.files.list().map((name) => parseSegmentName(name)?.firstSequence ?? 0);
  assert.ok(
    firstSequences.every((first) => first > old),
    `frame ${old} is in ${log.files.list()}`,
  );
  assert.ok(log.log.sequence - old <= 2, 'a segment with nothing but tokens stays');
});

test('a log in which nothing but tokens is left does not turn over and over', () => {
  const fences = new FenceTable();
  const log = run(new ForgetfulLogFiles(), fences);
  for (let lock = 0; lock < 300; lock++) grant(log, fences, `a lock with a long name ${lock}`, lock + 1);
  log.flushAll();
  const { sequence } = log.log;
  for (let tick = 0; tick < 20; tick++) {
    log.tick();
    log.end();
    log.flushAll();
  }
  assert.ok(log.log.sequence - sequence <= 2, `${log.log.sequence - sequence} frames were written`);
});

test('the next run begins its log with what it was told by the last, so that older files may go', async () => {
  const fences = new FenceTable();
  const first = run(new ForgetfulLogFiles(), fences);
  grant(first, fences, 'a', 5);
  const known = await replayed(first.files, EPOCH + 1);
  const second = run(first.files, known, EPOCH + 1);
  assert.equal(second.log.isCarrying, true, 'the old files must stay');
  second.end();
  assert.equal(second.log.isCarrying, true, 'until what it begins with is on the disk');
  await second.log.synced(second.log.sequence);
  assert.equal(second.log.isCarrying, false);
  for (const name of first.files.list()) if (name.includes(`e${String(EPOCH).padStart(10, '0')}`)) first.files.remove(name);
  const later = await replayed(first.files, EPOCH + 2);
  assert.deepEqual([later.admits('a', 4), later.admits('a', 5)], [false, true]);
});

test('what a log knew before a run without one is not trusted', async () => {
  const fences = new FenceTable();
  const first = run(new ForgetfulLogFiles(), fences);
  grant(first, fences, 'a', 5);
  const afterGap = await replayed(first.files, EPOCH + 2);
  assert.equal(afterGap.names, 0, 'run 2 may have granted the lock again: its floor refuses every token of earlier runs');
});

test('names that were forgotten stay forgotten: the floor is in the log', async () => {
  const fences = new FenceTable(0, 2);
  const log = run(new ForgetfulLogFiles(), fences);
  for (const [index, lock] of ['a', 'b', 'c', 'd'].entries()) grant(log, fences, lock, index + 1);
  const known = await replayed(log.files, EPOCH + 1);
  const second = run(log.files, fences, EPOCH + 1); // begins with the floor
  second.end();
  const later = await replayed(log.files, EPOCH + 2);
  assert.equal(known.admits('a', 0), false);
  assert.deepEqual([later.admits('unknown', 2), later.admits('unknown', 3)], [false, true]);
});
