/**
 * The log over a disk that forgets: the power goes at every boundary of every sync of a scripted run, and at random
 * moments with torn sectors. What was called synced must be there, and what is there must be what was written.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { ForgetfulLogFiles } from '../../engine/storage/forgetful-log-files.ts';
import { turn } from '../../engine/storage/virtual-time.ts';
import { LogUnderTest, missing, readBack, seeded } from '../testing/log-under-test.ts';
import type { SyncPolicy } from './group-sync.ts';

const KIB = 1024;

interface Moment {
  readonly after: ForgetfulLogFiles;
  readonly reported: number;
  readonly flushed: number;
  readonly name: string;
}

/** What must hold after any power loss. */
function check({ after, reported, flushed, name }: Moment, frames: ReadonlyMap<number, readonly string[]>): void {
  const back = readBack(after, frames);
  assert.deepEqual(missing(back, flushed + 1, reported), [], `${name}: frames ${flushed + 1} to ${reported} were called synced`);
  const damage = back.report.losses.filter(({ kind }) => kind === 'damage');
  assert.deepEqual(damage, [], `${name}: nothing that was synced is missed`);
}

/** A few hundred frames of many sizes, over rotations and deletions, with forced and interval syncs. */
async function script(subject: LogUnderTest, random: () => number, frames: number, onStep: () => void): Promise<void> {
  for (let step = 0; step < frames; step++) {
    const records = 1 + Math.floor(random() * 3);
    for (let record = 0; record < records; record++) subject.append(random() < 0.03 ? 9000 : Math.floor(random() * 700));
    assert.ok(subject.end());
    onStep();
    if (random() < 0.15) subject.log.requestSync();
    if (random() < 0.1) subject.log.flushed(Math.floor(subject.staged - random() * 60));
    if (random() < 0.02) subject.flushAll();
    subject.time.advance(Math.floor(random() * 6));
    if (random() < 0.3) subject.tick();
    onStep();
    if (random() < 0.7) await turn();
  }
}

function newLog(policy: SyncPolicy): LogUnderTest {
  const subject: LogUnderTest = new LogUnderTest(new ForgetfulLogFiles(), {
    segmentBytes: 16 * KIB,
    policy,
    startTimer: (delayMs, fire) => subject.time.startTimer(delayMs, fire),
  });
  return subject;
}

for (const policy of [10, 'always', 'off'] as const) {
  test(`the power goes at every sync boundary of a run with the policy ${policy}`, async () => {
    const subject = newLog(policy);
    const { files, log } = subject;
    const random = seeded(11);
    const moments: Moment[] = [];
    const note = (name: string, after: ForgetfulLogFiles): void => {
      moments.push({ after, reported: subject.reported, flushed: log.flushedSequence, name });
    };
    let segmentsMax = 0;
    files.onBoundary = () => {
      segmentsMax = Math.max(segmentsMax, log.segments);
      note(`boundary ${moments.length}, dropped`, files.crash(random, 'dropped'));
      note(`boundary ${moments.length}, torn`, files.crash(random, 'torn'));
    };
    await script(subject, random, 300, () => {});
    await log.close();
    for (const moment of moments) check(moment, subject.frames);
    assert.ok(moments.length > 100, `${moments.length} moments`);
    assert.ok(segmentsMax > 2, 'there were rotations');
    assert.ok(!files.list().some((name) => name.includes('-0000000000000001.')), 'there were deletions');
  });
}

test('the power goes at random moments, and sectors are torn', async () => {
  let moments = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const subject = newLog(seed % 4 === 0 ? 'off' : 10);
    const { files, log } = subject;
    const random = seeded(seed);
    const found: Moment[] = [];
    await script(subject, random, 80, () => {
      if (random() > 1 / 30) return;
      moments += 1;
      const name = `seed ${seed}, frame ${log.sequence}`;
      found.push({ after: files.crash(random, 'torn'), reported: subject.reported, flushed: log.flushedSequence, name });
    });
    for (const moment of found) check(moment, subject.frames);
  }
  assert.ok(moments > 250, `${moments} moments`);
});

test('a process that is killed at any moment has every frame that it wrote', async () => {
  const subject = newLog('off');
  const random = seeded(5);
  let flushed = 0;
  let checks = 0;
  await script(subject, random, 200, () => {
    if (random() > 0.2) return;
    checks += 1;
    flushed = subject.log.flushedSequence;
    const back = readBack(subject.files.kill(), subject.frames);
    assert.deepEqual(missing(back, flushed + 1, subject.log.sequence), []);
    assert.deepEqual(back.report.losses, []);
  });
  assert.ok(checks > 40);
});
