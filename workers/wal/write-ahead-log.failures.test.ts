import assert from 'node:assert/strict';
import test from 'node:test';
import { ForgetfulLogFiles } from '../../engine/storage/forgetful-log-files.ts';
import { turn } from '../../engine/storage/virtual-time.ts';
import { LogUnderTest, missing, readBack, seeded } from '../testing/log-under-test.ts';

const KIB = 1024;

/** A log whose disk has no room any more: the last frame is held. */
function full(capacityBytes: number): LogUnderTest {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 16 * KIB, maxBytes: 10_000 * KIB });
  subject.files.capacityBytes = capacityBytes;
  while (subject.log.state === 'open') subject.write();
  return subject;
}

test('a full disk refuses writes, keeps the frame and takes it again when there is room', async () => {
  const subject = full(40 * KIB);
  assert.equal(subject.log.state, 'disk-full');
  assert.equal(subject.log.refusal, 'DISK_FULL');
  const before = subject.log.sequence;
  assert.equal(subject.write(), false, 'still full');
  subject.tick();
  assert.equal(subject.log.refusal, 'DISK_FULL');
  assert.equal(subject.log.sequence, before);

  subject.files.capacityBytes = Number.POSITIVE_INFINITY;
  subject.tick();
  subject.noteFrame();
  assert.equal(subject.log.state, 'open');
  assert.equal(subject.log.refusal, undefined);
  assert.equal(subject.log.sequence, before + 1);
  assert.equal(subject.frames.get(before + 1)?.length, 2, 'both records that were refused are in it');
  assert.ok(subject.write());
  await subject.log.synced(before + 2);
  const { sequences, report } = readBack(subject.files.crash(Math.random, 'dropped'), subject.frames);
  assert.equal(sequences.size, before + 2);
  assert.deepEqual(
    report.losses.filter(({ kind }) => kind !== 'junk'),
    [],
  );
});

test('while the disk is full what was written before stays readable and can be synced', async () => {
  const subject = full(40 * KIB);
  const written = subject.log.sequence;
  await subject.log.synced(written);
  assert.deepEqual(missing(readBack(subject.files.crash(Math.random, 'dropped'), subject.frames), 1, written), []);
});

test('segments that are flushed make the room that a full disk lacks', async () => {
  const subject = full(40 * KIB);
  assert.ok(subject.log.segments > 1);
  subject.flushAll();
  await turn();
  subject.tick();
  assert.equal(subject.log.state, 'open');
});

test('every size of a small disk ends in a typed refusal and in a log without losses', () => {
  for (let capacityBytes = 4096; capacityBytes < 24 * KIB; capacityBytes += 331) {
    const subject = full(capacityBytes);
    assert.equal(subject.log.refusal, 'DISK_FULL', `${capacityBytes} bytes`);
    subject.files.capacityBytes += 8 * KIB;
    subject.tick();
    subject.noteFrame();
    const { sequences, report } = readBack(subject.files.kill(), subject.frames);
    assert.equal(sequences.size, subject.log.sequence);
    for (const { kind } of report.losses) assert.equal(kind, 'junk');
  }
});

test('a log begins on a full disk by refusing writes, leaves no file, and takes writes as soon as there is room', async () => {
  const files = new ForgetfulLogFiles();
  files.capacityBytes = 4000; // not even a header
  const subject = new LogUnderTest(files);
  assert.deepEqual([subject.log.state, subject.log.refusal, subject.log.segments], ['disk-full', 'DISK_FULL', 0]);
  subject.tick();
  assert.deepEqual([subject.log.state, files.list()], ['disk-full', []]);
  files.capacityBytes = Number.POSITIVE_INFINITY;
  subject.tick();
  assert.deepEqual([subject.log.state, subject.log.refusal, subject.log.segments], ['open', undefined, 1]);
  assert.ok(subject.write());
  await subject.log.synced(1);
  const { sequences, report } = readBack(files.crash(Math.random, 'dropped'), subject.frames);
  assert.deepEqual([[...sequences], report.losses.filter(({ kind }) => kind !== 'junk')], [[1], []]);
});

test('what a full disk kept out from the start on is in the first frame when there is room', () => {
  const files = new ForgetfulLogFiles();
  files.capacityBytes = 0;
  const subject = new LogUnderTest(files);
  assert.equal(subject.write(), false);
  assert.equal(subject.write(), false);
  subject.flushAll();
  files.capacityBytes = Number.POSITIVE_INFINITY;
  subject.tick();
  subject.noteFrame();
  assert.deepEqual([subject.log.state, subject.log.sequence, subject.frames.get(1)?.length], ['open', 1, 2]);
  assert.deepEqual([...readBack(files.kill(), subject.frames).sequences], [1]);
});

test('a disk that breaks while a log waits for room to begin fails it for good', () => {
  const files = new ForgetfulLogFiles();
  files.capacityBytes = 0;
  const subject = new LogUnderTest(files);
  files.capacityBytes = Number.POSITIVE_INFINITY;
  files.failWrite(1, 'EIO');
  subject.tick();
  assert.deepEqual([subject.log.state, subject.failures.length], ['failed', 1]);
});

test('a short write of any length is written again, whole, at the same place', () => {
  for (let bytes = 0; ; bytes += 8) {
    const subject = new LogUnderTest(new ForgetfulLogFiles());
    subject.writeMany(2);
    subject.files.shortWrite(1, bytes);
    if (subject.write()) {
      assert.ok(bytes > 300, 'that was all of it');
      return;
    }
    assert.equal(subject.log.refusal, 'DISK_FULL');
    const killed = readBack(subject.files.kill(), subject.frames);
    assert.deepEqual([...killed.sequences], [1, 2]);
    subject.tick();
    subject.noteFrame();
    assert.equal(subject.log.sequence, 3);
    const { sequences, report } = readBack(subject.files, subject.frames);
    assert.deepEqual([...sequences], [1, 2, 3]);
    assert.deepEqual(report.losses, []);
  }
});

test('no room for a new segment is a full disk, and the frame gets its segment later', () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { segmentBytes: 8 * KIB });
  subject.writeMany(2);
  for (const code of ['ENOSPC', 'EDQUOT']) {
    subject.append(7 * KIB);
    subject.files.failWrite(1, code); // the header of the next segment
    assert.equal(subject.end(), false);
    assert.equal(subject.log.refusal, 'DISK_FULL');
    const segments = subject.log.segments;
    assert.equal(subject.files.list().length, segments, 'what was begun is gone');
    subject.tick();
    subject.noteFrame();
    assert.equal(subject.log.segments, segments + 1);
  }
  assert.equal(readBack(subject.files, subject.frames).sequences.size, subject.log.sequence);
});

test('a frame that grew while it was held is not called flushed before what came in last', () => {
  const subject = full(40 * KIB);
  const stagedThen = subject.staged;
  const held = subject.log.sequence + 1;
  subject.append();
  subject.files.capacityBytes = Number.POSITIVE_INFINITY;
  subject.tick();
  subject.noteFrame();
  subject.log.flushed(stagedThen);
  assert.ok(subject.log.flushedSequence < held);
  subject.write();
  subject.log.flushed(stagedThen);
  assert.ok(subject.log.flushedSequence < held);
  subject.flushAll();
  assert.equal(subject.log.flushedSequence, held + 1);
});

test('a write that fails for another reason than room ends the log for good', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles());
  subject.writeMany(2);
  await subject.log.synced(2);
  subject.files.failWrite(1, 'EIO');
  assert.equal(subject.write(), false);
  assert.equal(subject.log.state, 'failed');
  assert.equal(subject.log.refusal, 'READ_ONLY');
  assert.deepEqual(
    subject.failures.map(({ code }) => code),
    ['READ_ONLY'],
  );
  assert.equal(subject.write(), false);
  assert.equal(subject.log.frame.isEmpty, true, 'nothing piles up');
  subject.tick();
  assert.equal(subject.log.sequence, 2);
  await subject.log.synced(2);
  assert.equal(subject.failures.length, 1);
  await subject.log.close();
  assert.deepEqual([...readBack(subject.files, subject.frames).sequences], [1, 2]);
});

test('a failed sync is told once, to all who wait, and nothing is synced ever after', async () => {
  const subject = new LogUnderTest(new ForgetfulLogFiles(), { policy: 'always' });
  subject.write();
  await subject.log.synced(1);
  subject.files.failSync(1);
  subject.write();
  const waiting = [subject.log.synced(2), subject.log.synced(2)];
  subject.write();
  waiting.push(subject.log.synced(3));
  for (const wait of waiting) await assert.rejects(wait, { code: 'READ_ONLY', message: /EIO/ });
  const syncs = subject.files.syncs;
  await assert.rejects(subject.log.synced(3), { code: 'READ_ONLY' });
  subject.log.requestSync();
  subject.tick();
  await subject.log.close();
  assert.equal(subject.files.syncs, syncs, 'a failed sync is not tried again');
  assert.deepEqual(subject.synced, [1]);
  assert.equal(subject.log.syncedSequence, 1);
  assert.equal(subject.failures.length, 1);
});

test('whichever sync fails, nothing above the last good one is reported, and all that was reported is read back', async () => {
  for (let k = 1; k <= 40; k++) {
    const subject: LogUnderTest = new LogUnderTest(new ForgetfulLogFiles(), {
      segmentBytes: 8 * KIB,
      startTimer: (delayMs, fire) => subject.time.startTimer(delayMs, fire),
    });
    subject.files.failSync(k);
    const random = seeded(k);
    let reportedAtFailure = -1;
    for (let step = 0; step < 400; step++) {
      const written = subject.write(100 + Math.floor(random() * 500));
      assert.equal(written, reportedAtFailure < 0);
      if (random() < 0.1) subject.log.requestSync();
      if (random() < 0.03) subject.log.flushed(Math.floor(subject.staged * random()));
      subject.time.advance(3);
      subject.tick();
      await turn();
      if (reportedAtFailure < 0 && subject.failures.length > 0) reportedAtFailure = subject.reported;
    }
    assert.ok(reportedAtFailure >= 0, `sync ${k} failed`);
    assert.equal(subject.reported, reportedAtFailure);
    assert.equal(subject.log.syncedSequence, reportedAtFailure);
    assert.equal(subject.log.refusal, 'READ_ONLY');
    const from = subject.log.flushedSequence + 1;
    for (const mode of ['dropped', 'torn'] as const) {
      const back = readBack(subject.files.crash(random, mode), subject.frames);
      assert.deepEqual(missing(back, from, reportedAtFailure), [], `sync ${k}, ${mode}`);
      assert.ok(!back.report.losses.some(({ kind }) => kind === 'damage'), `sync ${k}, ${mode}`);
    }
  }
});
