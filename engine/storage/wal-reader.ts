/**
 * Reads the log of one worker in one epoch: its segments in the order of sequences, frame after frame.
 *
 *   segment   ├─ N-1 ─┼─ N ─┼ ░░░░░░ ┼─ M ─┼ 0000    ├─ M+1 ─┼ ...
 *                             suspect: searched on, 8 bytes at a time, for a valid frame
 *
 * All valid frames are handed out, whatever lies between them, because replaying is merging: it commutes, and a record
 * twice changes nothing. What is missing is noted on the way and judged at the end (wal-loss.ts). One segment is in
 * memory at a time. The caller pulls, so that it can pause between frames.
 */
import { PARTITION_COUNT } from '../partition/hash.ts';
import { type Frame, readFrame } from './wal-frame.ts';
import { FRAME_MAGIC } from './wal-frame-layout.ts';
import {
  type AcceptedLoss,
  type Gap,
  isAccepted,
  judgeGap,
  type LogLoss,
  type LogWitness,
  type Suspect,
  UNKNOWN_END,
} from './wal-loss.ts';
import {
  decodeSegmentHeader,
  isHeaderUnwritten,
  parseSegmentName,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './wal-segment.ts';

/** What was read, complete once `next` has answered undefined. */
export interface LogReport {
  readonly epoch: number;
  readonly worker: number;
  readonly segments: number;
  readonly bytes: number;
  readonly frames: number;
  /** Sequence of the last valid frame; 0 when there is none. */
  readonly lastSequence: number;
  /** Sequence with which a worker goes on. */
  readonly nextSequence: number;
  /** Segment of that sequence that holds no frame: its name is in the way of the one to be made. */
  readonly emptyName: string | undefined;
  readonly losses: readonly LogLoss[];
}

export interface LogSource {
  readonly epoch: number;
  readonly worker: number;
  /** Segments of this worker and epoch, ascending. */
  readonly names: readonly string[];
  /** The whole content of a segment. */
  read(name: string): Uint8Array;
  readonly accepted: readonly AcceptedLoss[];
  /** Looks at a header before any frame of its segment is handed out; may throw. */
  readonly onHeader?: (name: string, header: SegmentHeader) => void;
}

/** A segment that is being read. */
interface OpenSegment {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly salt: number;
}

export class LogReader {
  readonly #source: LogSource;
  #segment: OpenSegment | undefined;
  #at = 0;
  #index = 0;
  #bytes = 0;
  #frames = 0;
  /** Sequence of the frame that should come next; undefined until the log's first is known. */
  #expected: number | undefined;
  #lastSequence = 0;
  /** No sequence below this is free: the largest that a segment begins with, or the last frame's plus 1. */
  #reached = 1;
  #syncedSequence = 0;
  #flushedSequence = 0;
  #suspect: Suspect | undefined;
  /** The last segment could not be opened, and it may hold frames that were synced. */
  #isTailUnknown = false;
  readonly #partitions = new Set<number>();
  readonly #gaps: Gap[] = [];
  readonly #junk: Gap[] = [];

  constructor(source: LogSource) {
    this.#source = source;
  }

  /**
   * The next valid frame, in its segment's memory; undefined at the end of the log.
   * Throws GridError DATA_VERSION for a segment of another format.
   */
  next(): Frame | undefined {
    for (;;) {
      const frame = this.#segment === undefined ? undefined : this.#nextIn(this.#segment);
      if (frame !== undefined) return frame;
      if (this.#index === this.#source.names.length) return undefined;
      this.#open(this.#source.names[this.#index++] as string);
    }
  }

  /** Bytes of the segments up to the last frame handed out. */
  get bytesBehind(): number {
    return this.#bytes - (this.#segment === undefined ? 0 : this.#segment.bytes.length - this.#at);
  }

  /** Judges what was found. Call it at the end of the log. */
  report(): LogReport {
    const { epoch, worker, names } = this.#source;
    return {
      epoch,
      worker,
      segments: names.length,
      bytes: this.#bytes,
      frames: this.#frames,
      lastSequence: this.#lastSequence,
      nextSequence: this.#isTailUnknown ? this.#reached + 1 : this.#reached,
      emptyName: this.#emptyName(),
      losses: this.#losses(),
    };
  }

  #emptyName(): string | undefined {
    const last = this.#source.names.at(-1);
    const isInTheWay = last !== undefined && parseSegmentName(last)?.firstSequence === this.#reached && !this.#isTailUnknown;
    return isInTheWay ? last : undefined;
  }

  #open(name: string): void {
    const bytes = aligned(this.#source.read(name));
    this.#bytes += bytes.length;
    this.#segment = undefined;
    const header = this.#header(name, bytes);
    this.#begin(parseSegmentName(name)?.firstSequence ?? 1);
    this.#isTailUnknown = false;
    if (header === undefined) {
      this.#refuse(name, bytes);
      return;
    }
    this.#source.onHeader?.(name, header);
    for (const partition of header.partitions) this.#partitions.add(partition);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    this.#segment = { name, bytes, words, salt: header.salt };
    this.#at = SEGMENT_HEADER_BYTES;
  }

  /** Undefined when the file's header is unreadable or belongs to another file. */
  #header(name: string, bytes: Uint8Array): SegmentHeader | undefined {
    const header = decodeSegmentHeader(bytes);
    const place = parseSegmentName(name);
    if (header === undefined || place === undefined) return undefined;
    const isOwn = header.epoch === place.epoch && header.worker === place.worker && header.firstSequence === place.firstSequence;
    return isOwn ? header : undefined;
  }

  #begin(firstSequence: number): void {
    this.#expected ??= firstSequence;
    this.#reached = Math.max(this.#reached, firstSequence);
  }

  /** Without its header a segment's salt is unknown, and so is every frame in it. */
  #refuse(name: string, bytes: Uint8Array): void {
    if (isZero(bytes, 0)) return; // made and never written
    const isUnwritten = isHeaderUnwritten(bytes);
    const reason = isUnwritten ? 'the header was never written' : 'the header is unreadable or belongs to another file';
    this.#suspect ??= { file: name, offset: 0, reason };
    this.#isTailUnknown = !isUnwritten && !isZero(bytes, SEGMENT_HEADER_BYTES);
  }

  #nextIn(segment: OpenSegment): Frame | undefined {
    const expected = this.#expected as number;
    const direct = readFrame(segment.bytes, this.#at, segment.salt);
    const frame = direct !== undefined && isAhead(direct, expected) ? direct : this.#search(segment, expected);
    if (frame === undefined) {
      this.#segment = undefined;
      return undefined;
    }
    this.#note(segment, frame, expected);
    this.#at = frame.end;
    return frame;
  }

  /** Looks for the next valid frame behind an invalid place, and notes the place when it holds more than zeros. */
  #search(segment: OpenSegment, expected: number): Frame | undefined {
    const { words, bytes, salt } = segment;
    const magic = (FRAME_MAGIC ^ salt) | 0;
    let dirtyAt = -1;
    for (let word = this.#at >>> 2; word < words.length; word += 2) {
      if (words[word] === magic) {
        const frame = readFrame(bytes, word << 2, salt);
        if (frame !== undefined && isAhead(frame, expected)) {
          if (dirtyAt >= 0) this.#suspectAt(segment, dirtyAt);
          return frame;
        }
      }
      if (dirtyAt < 0 && ((words[word] as number) | (words[word + 1] ?? 0)) !== 0) dirtyAt = word << 2;
    }
    if (dirtyAt < 0 && !isZero(bytes, Math.max(words.length << 2, this.#at))) dirtyAt = words.length << 2; // a cut word
    if (dirtyAt >= 0) this.#suspectAt(segment, dirtyAt);
    return undefined;
  }

  #suspectAt(segment: OpenSegment, offset: number): void {
    this.#suspect ??= { file: segment.name, offset, reason: 'bytes that are no valid frame' };
  }

  #note(segment: OpenSegment, frame: Frame, expected: number): void {
    const fromSequence = expected;
    const toSequence = frame.sequence - 1;
    if (toSequence >= fromSequence) {
      const place = this.#suspect ?? { file: segment.name, offset: frame.start, reason: 'frames before this one are missing' };
      this.#gaps.push({ ...place, fromSequence, toSequence });
    } else if (this.#suspect !== undefined) {
      this.#junk.push({ ...this.#suspect, fromSequence, toSequence });
    }
    this.#suspect = undefined;
    this.#frames++;
    this.#lastSequence = frame.sequence;
    this.#expected = frame.sequence + 1;
    this.#reached = Math.max(this.#reached, frame.sequence + 1);
    this.#syncedSequence = Math.max(this.#syncedSequence, frame.syncedSequence);
    this.#flushedSequence = Math.max(this.#flushedSequence, frame.flushedSequence);
  }

  #losses(): LogLoss[] {
    const witness = this.#witness();
    const { epoch, worker, partitions } = witness;
    const losses = this.#gaps.map((gap) => judgeGap(gap, witness));
    for (const junk of this.#junk) losses.push({ kind: 'junk', epoch, worker, partitions, ...junk });
    const tail = this.#tail(witness);
    if (tail !== undefined) losses.push(tail);
    return losses.sort((left, right) => left.fromSequence - right.fromSequence);
  }

  /** What is wrong behind the last valid frame. No frame behind it can say what was synced. */
  #tail(witness: LogWitness): LogLoss | undefined {
    const { epoch, worker, partitions } = witness;
    const fromSequence = this.#expected ?? 1;
    if (this.#isTailUnknown && this.#suspect !== undefined) {
      const kind = isAccepted(fromSequence, UNKNOWN_END, witness) ? 'accepted' : 'damage';
      return { kind, epoch, worker, partitions, fromSequence, toSequence: UNKNOWN_END, ...this.#suspect };
    }
    if (this.#reached > fromSequence) {
      const last = this.#source.names.at(-1) ?? '';
      const place = this.#suspect ?? { file: last, offset: 0, reason: 'frames before this segment are missing' };
      return judgeGap({ ...place, fromSequence, toSequence: this.#reached - 1 }, witness);
    }
    if (this.#suspect === undefined) return undefined;
    return { kind: 'torn-tail', epoch, worker, partitions, fromSequence, toSequence: fromSequence, ...this.#suspect };
  }

  #witness(): LogWitness {
    const { epoch, worker, accepted } = this.#source;
    const known = [...this.#partitions].sort((left, right) => left - right);
    const partitions = known.length > 0 ? known : Array.from({ length: PARTITION_COUNT }, (_, partition) => partition);
    return { epoch, worker, partitions, syncedSequence: this.#syncedSequence, flushedSequence: this.#flushedSequence, accepted };
  }
}

/** A frame that was handed out before, or one whose number is none, is no frame here. */
function isAhead(frame: Frame, expected: number): boolean {
  return Number.isSafeInteger(frame.sequence) && frame.sequence >= expected;
}

/** The same bytes at an address that words can be read from. */
function aligned(bytes: Uint8Array): Uint8Array {
  if ((bytes.byteOffset & 3) === 0) return bytes;
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}

function isZero(bytes: Uint8Array, from: number): boolean {
  for (let index = from; index < bytes.length; index++) if (bytes[index] !== 0) return false;
  return true;
}
