import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LogSketch, type SketchedFrame } from './log-sketch.ts';
import { imageOf, recordOf } from './stored-record.ts';
import { FrameWriter } from './wal-frame.ts';
import { type AcceptedLoss, UNKNOWN_END } from './wal-loss.ts';
import { LogReader, type LogReport } from './wal-reader.ts';
import { segmentName } from './wal-segment.ts';

interface Read {
  readonly sequences: number[];
  readonly report: LogReport;
  /** Losses as short text. */
  readonly losses: string[];
}

function readAll(
  files: ReadonlyMap<string, Uint8Array>,
  accepted: readonly AcceptedLoss[] = [],
  frames?: readonly SketchedFrame[],
): Read {
  const names = [...files.keys()].sort();
  const reader = new LogReader({ epoch: 1, worker: 0, names, accepted, read: (name) => files.get(name) ?? new Uint8Array(0) });
  const sequences: number[] = [];
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    sequences.push(frame.sequence);
    const drawn = frames?.[frame.sequence - 1]?.bytes;
    if (frames !== undefined)
      assert.ok(drawn !== undefined && Buffer.compare(drawn, frame.source.subarray(frame.start, frame.end)) === 0);
  }
  const report = reader.report();
  const losses = report.losses.map((loss) => `${loss.kind} ${loss.fromSequence}-${loss.toSequence} ${loss.file}@${loss.offset}`);
  return { sequences, report, losses };
}

const record = recordOf({ key: 'k', value: 'v' });
const FIRST = segmentName(1, 0, 1);

test('a clean log is read to its end, over segments, without a word', () => {
  const sketch = new LogSketch().segment().frame([record]).frame([]).segment().frame([record]).segment();
  const { sequences, report } = readAll(sketch.files);
  assert.deepEqual(sequences, [1, 2, 3]);
  assert.deepEqual(report.losses, []);
  assert.equal(report.lastSequence, 3);
  assert.equal(report.nextSequence, 4);
  assert.equal(report.frames, 3);
  assert.equal(report.emptyName, segmentName(1, 0, 4));
});

test('a log may begin above 1: what was before was flushed and deleted', () => {
  const { sequences, losses } = readAll(new LogSketch({ firstSequence: 500 }).segment().frame([record]).files);
  assert.deepEqual(sequences, [500]);
  assert.deepEqual(losses, []);
});

test('an empty file and a page of zeros were made and never written', () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(65536)]) {
    const { report } = readAll(new Map([[segmentName(1, 0, 3), bytes]]));
    assert.deepEqual(report.losses, []);
    assert.equal(report.nextSequence, 3);
    assert.equal(report.emptyName, segmentName(1, 0, 3));
  }
});

test('bytes behind the last frame are a torn tail, named by file and offset', () => {
  const sketch = new LogSketch().segment().frame([record]);
  const offset = (sketch.frames[0]?.offset ?? 0) + (sketch.frames[0]?.bytes.length ?? 0);
  assert.deepEqual(readAll(sketch.junk(64).files).losses, [`torn-tail 2-2 ${FIRST}@${offset}`]);
  assert.equal(readAll(sketch.files).report.nextSequence, 2);
});

test('junk before the next frame in order is no loss, in one segment or over two', () => {
  for (const sketch of [
    new LogSketch().segment().frame([record]).junk(64).frame([record]),
    new LogSketch().segment().frame([record]).junk(64).segment().frame([record]),
  ]) {
    const { sequences, losses } = readAll(sketch.files);
    assert.deepEqual(sequences, [1, 2]);
    assert.equal(losses.length, 1);
    assert.match(losses[0] ?? '', /^junk 2-1 e0000000001-w000-0000000000000001\.wal@\d+$/);
  }
});

test('missing frames that Postgres has are repaired', () => {
  const sketch = new LogSketch().segment().frame([record]).junk(64).skip(2).frame([record]);
  assert.match(readAll(sketch.frame([record], { syncedSequence: 4, flushedSequence: 3 }).files).losses[0] ?? '', /^repaired 2-3/);
});

test('missing frames that were synced, and are not in Postgres, are damage', () => {
  const sketch = new LogSketch({ partitions: [4, 9] }).segment().frame([record]).junk(64).skip(2).frame([record]);
  const { sequences, report, losses } = readAll(sketch.frame([record], { syncedSequence: 4, flushedSequence: 2 }).files);
  assert.deepEqual(sequences, [1, 4, 5]);
  assert.match(losses[0] ?? '', /^damage 2-3/);
  assert.deepEqual(report.losses[0]?.partitions, [4, 9]);
});

test('missing frames that nobody called synced went with the power', () => {
  const sketch = new LogSketch().segment().frame([record]).skip(2).frame([record]);
  assert.match(readAll(sketch.frame([record], { syncedSequence: 1 }).files).losses[0] ?? '', /^unsynced 2-3/);
});

test('frames in Postgres do not make the rest of a gap damage: only what is above them counts', () => {
  const sketch = new LogSketch().segment().frame([record]).skip(4).frame([record]);
  const later = { syncedSequence: 3, flushedSequence: 3 };
  assert.match(readAll(sketch.frame([record], later).files).losses[0] ?? '', /^unsynced 2-5/);
});

test('a missing segment in the middle is judged like missing frames', () => {
  const sketch = new LogSketch().segment().frame([record]).segment().frame([record]).frame([record]).segment();
  const files = sketch.frame([record]).frame([record], { syncedSequence: 4 }).files;
  assert.ok(files.delete(segmentName(1, 0, 2)));
  const { sequences, losses } = readAll(files);
  assert.deepEqual(sequences, [1, 4, 5]);
  assert.deepEqual(losses, [`damage 2-3 ${segmentName(1, 0, 4)}@4096`]);
});

test('a later segment that begins too late tells of lost frames, even without a frame of its own', () => {
  const { losses, report } = readAll(new LogSketch().segment().frame([record]).skip(3).segment().files);
  assert.deepEqual(losses, [`unsynced 2-4 ${segmentName(1, 0, 5)}@0`]);
  assert.equal(report.nextSequence, 5);
});

test('a segment whose header is unreadable loses its frames, judged by those behind it', () => {
  const sketch = new LogSketch({ partitions: [1] }).segment().frame([record]).segment().frame([record]).segment();
  const files = sketch.frame([record]).frame([record], { syncedSequence: 3 }).files;
  files.get(segmentName(1, 0, 2))?.fill(0x11, 0, 4096);
  const { sequences, losses, report } = readAll(files);
  assert.deepEqual(sequences, [1, 3, 4]);
  assert.deepEqual(losses, [`damage 2-2 ${segmentName(1, 0, 2)}@0`]);
  assert.deepEqual(report.losses[0]?.partitions, [1]);
});

test('an unreadable header at the end is damage of unknown length; one that was never written is a torn tail', () => {
  const files = new LogSketch().segment().frame([record]).segment().frame([record]).files;
  const last = segmentName(1, 0, 2);
  files.get(last)?.fill(0x11, 0, 4096);
  assert.deepEqual(readAll(files).losses, [`damage 2-${UNKNOWN_END} ${last}@0`]);
  assert.equal(readAll(files).report.nextSequence, 3);
  assert.equal(readAll(files).report.emptyName, undefined);
  const accepted = [{ epoch: 1, worker: 0, fromSequence: 2, toSequence: UNKNOWN_END }];
  assert.deepEqual(readAll(files, accepted).losses, [`accepted 2-${UNKNOWN_END} ${last}@0`]);
  files.get(last)?.fill(0, 0, 4096);
  assert.deepEqual(readAll(files).losses, [`torn-tail 2-2 ${last}@0`]);
});

test('a header that belongs to another file does not count', () => {
  const files = new LogSketch().segment().frame([record]).files;
  const other =
    new LogSketch({ worker: 5 })
      .segment()
      .frame([record])
      .files.get(segmentName(1, 5, 1)) ?? new Uint8Array(0);
  assert.match(readAll(new Map([...files, [segmentName(1, 0, 2), other]])).losses[0] ?? '', /^damage 2-/);
});

test('a damaged log of which no header can be read may concern every partition', () => {
  const files = new LogSketch({ partitions: [1] }).segment().frame([record]).files;
  files.get(FIRST)?.fill(0x11, 0, 4096);
  assert.equal(readAll(files).report.losses[0]?.partitions.length, 271);
});

test('an accepted loss is no damage; one that covers only a part is', () => {
  const files = new LogSketch().segment().frame([record]).skip(2).frame([record]).frame([record], { syncedSequence: 4 }).files;
  const accept = (fields: Partial<AcceptedLoss>): string =>
    readAll(files, [{ epoch: 1, worker: 0, fromSequence: 2, toSequence: 3, ...fields }]).losses[0]?.split(' ')[0] ?? '';
  assert.equal(accept({}), 'accepted');
  assert.equal(accept({ fromSequence: 1, toSequence: 9 }), 'accepted');
  for (const other of [{ fromSequence: 3 }, { toSequence: 2 }, { worker: 1 }, { epoch: 2 }])
    assert.equal(accept(other), 'damage');
});

test('frames that a client puts into a value are never taken for frames', () => {
  const forged = [0xc0ffee12, 0, 1, 0xffffffff].map((salt) => {
    const writer = new FrameWriter();
    writer.append(0, record.map, imageOf(recordOf({ key: 'forged' })));
    const fields = { salt, sequence: 2, syncedSequence: 2, flushedSequence: 2, writtenAtMs: 1, inboxPositions: [] };
    return writer.finish(fields).slice();
  });
  const salt = 0x13572468;
  for (let shift = 0; shift < 8; shift++) {
    const value = Buffer.concat([new Uint8Array(shift), ...forged]);
    const sketch = new LogSketch({ salt })
      .segment({ salt })
      .frame([recordOf({ key: 'k', value })])
      .frame([record]);
    const files = sketch.files;
    const bytes = files.get(FIRST) ?? new Uint8Array(0);
    bytes[4096] = (bytes[4096] as number) ^ 1; // the frame around the value is broken: the reader searches through it
    assert.deepEqual(readAll(files, [], sketch.frames).sequences, [2]);
  }
});

test('whatever is left out, torn or put in between, all valid frames come and every missing one is accounted for', () => {
  const anyStep = fc.constantFrom('frame', 'frame', 'frame', 'skip', 'junk', 'segment', 'drop', 'junk and skip');
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 40 }), fc.nat(30), fc.nat(30), (steps, synced, flushed) => {
      const sketch = new LogSketch().segment().frame([record]);
      const dropped = new Set<string>();
      let sequence = 2;
      for (const step of steps) {
        if (step.includes('junk')) sketch.junk(24);
        if (step.includes('skip')) sketch.skip(1);
        if (step === 'frame') sketch.frame([record]);
        if (step === 'segment' || step === 'drop') sketch.segment();
        if (step === 'drop' && sketch.name !== FIRST) {
          sketch.frame([record]);
          dropped.add(sketch.name);
          sequence++;
          sketch.segment();
        }
        if (step === 'frame' || step.includes('skip')) sequence++;
      }
      sketch.frame([record], { syncedSequence: synced, flushedSequence: flushed });
      const files = new Map([...sketch.files].filter(([name]) => !dropped.has(name)));
      const there = sketch.frames.filter(({ file }) => !dropped.has(file)).map((frame) => frame.sequence);
      const { sequences, report } = readAll(files);
      assert.deepEqual(sequences, there);
      const missing = report.losses.filter((loss) => loss.kind !== 'junk');
      const missed = missing.flatMap((loss) =>
        Array.from({ length: loss.toSequence - loss.fromSequence + 1 }, (_, n) => loss.fromSequence + n),
      );
      assert.deepEqual(
        [...sequences, ...missed].sort((left, right) => left - right),
        Array.from({ length: sequence }, (_, n) => n + 1),
      );
      for (const { kind, fromSequence, toSequence } of missing) {
        const lost = Array.from({ length: toSequence - fromSequence + 1 }, (_, n) => fromSequence + n).filter((n) => n > flushed);
        assert.equal(kind, lost.length === 0 ? 'repaired' : lost.some((n) => n <= synced) ? 'damage' : 'unsynced');
      }
    }),
    { numRuns: 300 },
  );
});

/** One segment of about 68 KiB. */
function longSketch(): LogSketch {
  const sketch = new LogSketch({ partitions: [7] }).segment();
  for (let index = 0; index < 40; index++) {
    const value = new Uint8Array(1400 + ((index * 37) % 256)).fill(index);
    sketch.frame([recordOf({ key: `key ${index}`, value }), record], { syncedSequence: index, flushedSequence: index >> 1 });
  }
  return sketch;
}

test('a flipped bit in any byte of the last 64 KiB costs at most the frame that it is in, and is told', () => {
  const sketch = longSketch();
  const files = sketch.files;
  const bytes = files.get(FIRST) ?? new Uint8Array(0);
  assert.ok(bytes.length >= 64 * 1024);
  for (let at = bytes.length - 64 * 1024; at < bytes.length; at++) {
    bytes[at] = (bytes[at] as number) ^ (1 << (at & 7));
    const { sequences, report } = readAll(files, [], sketch.frames);
    bytes[at] = (bytes[at] as number) ^ (1 << (at & 7));
    const hit = sketch.frames.find((frame) => at >= frame.offset && at < frame.offset + frame.bytes.length);
    assert.equal(sequences.length, hit === undefined ? 40 : 39, `byte ${at}`);
    assert.equal(hit !== undefined && sequences.includes(hit.sequence), false, `byte ${at}`);
    assert.equal(report.losses.length, hit !== undefined || at >= 4096 ? 1 : 0, `byte ${at}`);
  }
});

test('a cut at any byte of the last 64 KiB leaves all frames before it, and is told unless it is between two', () => {
  const sketch = longSketch();
  const whole = sketch.files.get(FIRST) ?? new Uint8Array(0);
  const ends = new Set(sketch.frames.map((frame) => frame.offset + frame.bytes.length));
  const last = Math.max(...ends);
  for (let length = whole.length - 64 * 1024; length < whole.length; length++) {
    const { sequences, report } = readAll(new Map([[FIRST, whole.subarray(0, length)]]), [], sketch.frames);
    const there = sketch.frames.filter((frame) => frame.offset + frame.bytes.length <= length).length;
    assert.equal(sequences.length, there, `cut at ${length}`);
    const isBetween = length >= last || length === 4096 || ends.has(length);
    assert.equal(report.losses.length > 0 || isBetween || length < 4096, true, `cut at ${length}`);
  }
});
