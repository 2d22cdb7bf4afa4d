import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { ForgetfulLogFiles } from '../../engine/storage/forgetful-log-files.ts';
import { turn } from '../../engine/storage/virtual-time.ts';
import type { FrameWriter } from '../../engine/storage/wal-frame.ts';
import { parseSegmentName, segmentName } from '../../engine/storage/wal-segment.ts';
import { EPOCH, LogUnderTest, missing, readBack, WORKER } from '../testing/log-under-test.ts';
import { NodeLogFiles } from './node-log-files.ts';
import { ZERO_STEP_BYTES } from './segment-writer.ts';

const KIB = 1024;

function withFolder(work: (folder: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lattice-wal-'));
    try {
      await work(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
}

test('frames are numbered one by one and are read back as they were written', () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles());
  subject.append();
  subject.append();
  assert.ok(subject.end());
  subject.writeMany(3);
  assert.equal(subject.log.sequence, 4);
  const { sequences, report } = readBack(subject.files, subject.frames);
  assert.deepEqual([...sequences], [1, 2, 3, 4]);
  assert.deepEqual(report.losses, []);
});

test('an empty frame writes nothing and takes no number', () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles());
  assert.equal(subject.end(), true);
  assert.equal(subject.log.sequence, 0);
  assert.equal(readBack(subject.files, subject.frames).sequences.size, 0);
});

test('frames written while a sync is under way are not reported by it, and the next one takes them all', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles());
  subject.files.holdsSyncs = true;
  subject.writeMany(2);
  subject.log.requestSync();
  subject.writeMany(3);
  const all = subject.log.synced(5);
  subject.files.releaseSyncs();
  await turn();
  subject.files.releaseSyncs(); // of the folder, which belongs to the first group
  await turn();
  assert.deepEqual(subject.synced, [2]);
  assert.equal(subject.log.syncedSequence, 2);
  assert.equal(subject.files.heldSyncs, 1);
  subject.files.releaseSyncs();
  await all;
  assert.deepEqual(subject.synced, [2, 5]);
  assert.equal(subject.log.syncs, 2);
});

test('with an interval, a sync begins that long after the first frame that needs it', async () => {
  const subject: LogUnderTest = new LogUnderTest(new ForgetfulLogFiles(), {
    policy: 10,
    startTimer: (delayMs, fire) => subject.time.startTimer(delayMs, fire),
  });
  subject.write();
  subject.time.advance(6);
  subject.write();
  await turn();
  assert.deepEqual(subject.synced, []);
  subject.time.advance(4);
  await turn();
  assert.deepEqual(subject.synced, [2]);
  subject.time.advance(1000);
  await turn();
  assert.equal(subject.log.syncs, 1);
  assert.equal(subject.time.timers, 0);
});

test('with an interval, frames that came during a sync are synced when the interval is over for them', async () => {
  const subject: LogUnderTest = new LogUnderTest(new ForgetfulLogFiles(), {
    policy: 10,
    startTimer: (delayMs, fire) => subject.time.startTimer(delayMs, fire),
  });
  subject.write();
  subject.files.holdsSyncs = true;
  subject.time.advance(10);
  subject.write();
  subject.time.advance(4);
  subject.files.holdsSyncs = false;
  subject.files.releaseSyncs();
  await turn();
  assert.deepEqual(subject.synced, [1]);
  subject.time.advance(6);
  await turn();
  assert.deepEqual(subject.synced, [1, 2]);
});

test('without a timer, syncs that are due begin on a tick, also when the clock was set back', async () => {
  let nowMs = 1000;
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { nowMs: () => nowMs });
  subject.write();
  nowMs = 1009;
  subject.log.tick(nowMs);
  await turn();
  assert.deepEqual(subject.synced, []);
  nowMs = 1010;
  subject.log.tick(nowMs);
  await turn();
  assert.deepEqual(subject.synced, [1]);
  subject.write();
  nowMs = 20;
  subject.log.tick(nowMs);
  await turn();
  assert.deepEqual(subject.synced, [1, 2]);
});

test('with the policy off nothing is synced unless somebody asks', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { policy: 'off' });
  subject.write();
  subject.time.advance(100_000);
  subject.tick();
  await turn();
  assert.equal(subject.files.syncs, 0);
  await subject.log.synced(1);
  assert.deepEqual(subject.synced, [1]);
  subject.write();
  await subject.log.close();
  assert.equal(subject.log.syncedSequence, 1);
});

test('with the policy always each batch waits for its own sync', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { policy: 'always' });
  for (let batch = 1; batch <= 3; batch++) {
    subject.write();
    await subject.log.synced(batch);
    assert.equal(subject.log.syncedSequence, batch);
  }
});

test('closing syncs what is written', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { policy: 60_000 });
  subject.writeMany(3);
  await subject.log.close();
  assert.deepEqual(subject.synced, [3]);
  const disk = subject.files.crash(Math.random, 'dropped');
  assert.deepEqual([...readBack(disk, subject.frames).sequences], [1, 2, 3]);
});

test('a full segment is followed by one that is named after its first frame', () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 8 * KIB });
  subject.writeMany(40);
  assert.ok(subject.log.segments > 2);
  const { sequences, report } = readBack(subject.files, subject.frames);
  assert.equal(sequences.size, 40);
  assert.deepEqual(report.losses, []);
  assert.equal(subject.files.list().length, subject.log.segments);
});

test('a frame behind a rotation is synced only when the segment before and the folder are', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 8 * KIB, policy: 60_000 });
  subject.write();
  await subject.log.synced(1);
  subject.files.holdsSyncs = true;
  while (subject.log.segments === 1) subject.write();
  const last = subject.log.sequence;
  subject.log.requestSync();
  for (let syncs = 0; syncs < 3; syncs++) {
    assert.equal(subject.log.syncedSequence, 1);
    assert.equal(subject.files.heldSyncs, 1, 'one sync at a time: the full segment, the new one, the folder');
    subject.files.releaseSyncs();
    await turn();
  }
  assert.equal(subject.log.syncedSequence, last);
  const disk = subject.files.crash(Math.random, 'dropped');
  assert.deepEqual(missing(readBack(disk, subject.frames), 1, last), []);
});

test('a frame that is larger than a segment gets a segment of its own size', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 8 * KIB });
  subject.write();
  subject.write(100 * KIB);
  subject.write();
  await subject.log.synced(3);
  assert.equal(subject.log.segments, 3);
  const { sequences, report } = readBack(subject.files.crash(Math.random, 'dropped'), subject.frames);
  assert.deepEqual([...sequences], [1, 2, 3]);
  assert.deepEqual(report.losses, []);
});

test('a segment is deleted when all its frames are flushed, and not before', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 8 * KIB });
  while (subject.log.segments < 3) subject.write();
  const [first, second, third] = [...subject.files.list()].sort();
  const secondFrom = parseSegmentName(second ?? '')?.firstSequence ?? 0;
  subject.log.flushed(secondFrom - 2); // all but the last frame of the first segment
  await turn();
  assert.deepEqual([...subject.files.list()].sort(), [first, second, third]);
  subject.log.flushed(secondFrom - 1);
  assert.equal(subject.log.flushedSequence, secondFrom - 1);
  await turn();
  assert.deepEqual([...subject.files.list()].sort(), [second, third]);
  subject.flushAll();
  await turn();
  assert.deepEqual(subject.files.list(), [third], 'the one that is written to stays');
  assert.equal(subject.log.segments, 1);
  assert.equal(subject.log.bytes, subject.files.usedBytes);
});

test('a deletion is on the disk before the next one begins', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 8 * KIB });
  while (subject.log.segments < 4) subject.write();
  subject.files.holdsSyncs = true;
  subject.flushAll();
  assert.equal(subject.files.list().length, 3);
  await turn();
  assert.equal(subject.files.list().length, 3);
  subject.files.releaseSyncs();
  await turn();
  assert.equal(subject.files.list().length, 2);
});

test('a segment is not deleted while it is synced', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 8 * KIB });
  while (subject.log.segments < 2) subject.write();
  subject.files.holdsSyncs = true;
  subject.log.requestSync();
  subject.flushAll();
  await turn();
  assert.equal(subject.files.list().length, 2);
  subject.files.holdsSyncs = false;
  subject.files.releaseSyncs();
  await turn();
  subject.tick();
  await turn();
  assert.equal(subject.files.list().length, 1);
});

test('an idle segment is retired when it is filled to a quarter and all of it is flushed', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 32 * KIB });
  subject.writeMany(30);
  subject.tick();
  await turn();
  assert.equal(subject.files.list()[0], segmentName(EPOCH, WORKER, 1));
  subject.flushAll();
  subject.tick();
  await turn();
  assert.deepEqual(subject.files.list(), [segmentName(EPOCH, WORKER, 31)]);
  assert.ok(subject.write());
  assert.deepEqual([...readBack(subject.files, subject.frames).sequences], [31]);
});

test('a flushed segment is retired when it is old, however little is in it', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 32 * KIB, retireAfterMs: 1000 });
  subject.time.advance(5000);
  subject.write();
  subject.time.advance(1000);
  subject.tick();
  await turn();
  assert.deepEqual(subject.files.list(), [segmentName(EPOCH, WORKER, 1)], 'it is not flushed');
  subject.flushAll();
  subject.tick();
  await turn();
  assert.deepEqual(subject.files.list(), [segmentName(EPOCH, WORKER, 2)]);
  subject.write();
  subject.flushAll();
  subject.time.advance(999);
  subject.tick();
  await turn();
  assert.deepEqual(subject.files.list(), [segmentName(EPOCH, WORKER, 2)]);
});

test('no segment is retired while its last frame says where a successor may go on', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 32 * KIB });
  subject.writeMany(30);
  subject.flushAll();
  subject.log.tick(subject.time.nowMs(), false);
  await turn();
  assert.deepEqual(subject.files.list(), [segmentName(EPOCH, WORKER, 1)]);
  subject.tick();
  await turn();
  assert.deepEqual(subject.files.list(), [segmentName(EPOCH, WORKER, 31)]);
});

test('zeros are written ahead in steps, and never over data', () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), {
    segmentBytes: 4 * ZERO_STEP_BYTES,
    maxBytes: 64 * ZERO_STEP_BYTES,
  });
  let steps = 0;
  let bytes = subject.log.bytes;
  while (subject.log.segments === 1) {
    subject.write(100_000);
    if (subject.log.bytes > bytes && subject.log.segments === 1) steps += 1;
    bytes = subject.log.bytes;
  }
  assert.equal(steps, 4);
  const [first] = subject.files.list();
  assert.equal(subject.files.size(first ?? ''), 4 * ZERO_STEP_BYTES);
  const { sequences, report } = readBack(subject.files, subject.frames);
  assert.equal(sequences.size, subject.log.sequence);
  assert.deepEqual(report.losses, []);
});

test('at its bound the log refuses writes until segments are deleted', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 16 * KIB, maxBytes: 64 * KIB });
  while (subject.log.refusal === undefined) subject.write();
  assert.equal(subject.log.refusal, 'LOG_FULL');
  assert.equal(subject.log.state, 'full');
  assert.ok(subject.log.bytes >= 64 * KIB && subject.log.bytes < 80 * KIB, `${subject.log.bytes} bytes`);
  subject.tick();
  await turn();
  assert.equal(subject.log.refusal, 'LOG_FULL');
  subject.flushAll();
  subject.tick();
  await turn();
  assert.equal(subject.log.refusal, undefined);
  assert.equal(subject.log.state, 'open');
  assert.ok(subject.write());
});

test('one huge frame fills the log, and it becomes empty again by itself', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 16 * KIB, maxBytes: 64 * KIB });
  assert.ok(subject.write(200 * KIB));
  assert.equal(subject.log.refusal, 'LOG_FULL');
  subject.flushAll();
  subject.tick();
  await turn();
  assert.equal(subject.log.refusal, undefined);
});

test('one huge frame that begins a segment with what older ones hold goes, too', async () => {
  const carry = (frame: FrameWriter): boolean => {
    frame.appendFence(new TextEncoder().encode('a lock'), 5);
    return true;
  };
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 16 * KIB, maxBytes: 64 * KIB, carry });
  assert.ok(subject.write());
  assert.ok(subject.write(200 * KIB));
  assert.equal(subject.log.refusal, 'LOG_FULL');
  for (let tick = 0; tick < 5; tick++) {
    subject.end();
    subject.flushAll();
    subject.tick();
    subject.log.requestSync();
    await turn();
  }
  assert.equal(subject.log.refusal, undefined);
  const { sequence } = subject.log;
  for (let tick = 0; tick < 5; tick++) {
    subject.end();
    subject.flushAll();
    subject.tick();
    await turn();
  }
  assert.equal(subject.log.sequence, sequence, 'what is carried is not carried on and on');
});

test('a replaced worker syncs what its predecessor wrote before it calls anything synced', async () => {
  const first = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 8 * KIB, policy: 'off' });
  first.writeMany(40);
  const second = new LogUnderTest(first.files, { firstSequence: 41 });
  assert.equal(second.log.syncedSequence, 0);
  second.write();
  await second.log.synced(41);
  const disk = second.files.crash(Math.random, 'dropped');
  const frames = new Map([...first.frames, ...second.frames]);
  assert.deepEqual(missing(readBack(disk, frames), 1, 41), []);
});

test('a replaced worker takes the place of a segment in which no frame became whole', () => {
  const first = new LogUnderTest(new ForgetfulLogFiles());
  const second = new LogUnderTest(first.files);
  second.write();
  assert.deepEqual([...readBack(second.files, second.frames).sequences], [1]);
});

test('a file in the way whose header is unreadable but which is not empty is not written over', () => {
  const files = new ForgetfulLogFiles();
  const damaged = files.create(segmentName(EPOCH, WORKER, 1));
  damaged.write(Uint8Array.of(1), 5000);
  assert.throws(() => new LogUnderTest(files), { code: 'LOG_DAMAGED' });
  assert.equal(files.read(damaged.name)[5000], 1);
});

test(
  'on a real disk frames are written, synced, rotated, deleted and read back',
  withFolder(async (folder) => {
    const files = new NodeLogFiles(join(folder, 'wal'));
    const subject = new LogUnderTest(files, { segmentBytes: 64 * KIB, maxBytes: 16 * 1024 * KIB, policy: 'always' });
    for (let batch = 1; batch <= 60; batch++) {
      subject.write(3000);
      if (batch % 10 === 0) await subject.log.synced(batch);
    }
    assert.deepEqual(missing(readBack(files, subject.frames), 1, 60), []);
    assert.equal(statSync(join(folder, 'wal')).mode & 0o777, 0o700);
    const [first] = readdirSync(join(folder, 'wal'));
    assert.equal(statSync(join(folder, 'wal', first ?? '')).mode & 0o777, 0o600);
    const segments = subject.log.segments;
    assert.ok(segments > 2);
    subject.log.flushed(30);
    await subject.log.close();
    assert.equal(readdirSync(join(folder, 'wal')).length, segments - 1);
    assert.deepEqual(missing(readBack(files, subject.frames), 31, 60), []);
  }),
);

test(
  'a folder that takes no files is a typed refusal at the start',
  withFolder(async (folder) => {
    const files = new NodeLogFiles(join(folder, 'wal'));
    rmSync(join(folder, 'wal'), { recursive: true });
    files.list = () => [];
    const open = (): LogUnderTest<NodeLogFiles> => new LogUnderTest(files);
    assert.throws(open, { code: 'READ_ONLY', message: /could not be opened: ENOENT/ });
  }),
);
