/** Reads frames of the write-ahead log, as wal-frame-layout.ts lays them out. The bytes may begin anywhere in memory. */
import { crc32 } from 'node:zlib';
import { GridError } from '../protocol/errors.ts';
import { KIND_COUNTER, KIND_LWW, KIND_OR, type Provenance, RecordImage, type StoredKind } from './record.ts';
import { sameSpan } from './record-block.ts';
import {
  CRC_AT,
  CRC_COVERED_START,
  ENTRY_COMMIT,
  ENTRY_FENCE,
  ENTRY_MAP,
  ENTRY_RECORD,
  ENTRY_WHOLE,
  FENCE_NAME_START,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  FRAME_RINGS_MAX,
  headerBytes,
  MAP_NAME_START,
  RECORD_PROVENANCE_MASK,
  RECORD_PROVENANCE_SHIFT,
  RECORD_SPANS_START,
  RECORD_TOMBSTONE,
  WHOLE_CHANGE_START,
  WHOLE_PARTITIONS_START,
} from './wal-frame-layout.ts';
import { WHOLE_DECIDED, WHOLE_DONE, WHOLE_OVER, type WholeNote } from './whole-act-note.ts';

const SPAN_MASK = 0xffff;
const NO_BYTES = new Uint8Array(0);

/** A valid frame in its source. */
export interface Frame {
  readonly sequence: number;
  readonly syncedSequence: number;
  readonly flushedSequence: number;
  readonly writtenAtMs: number;
  readonly inboxPositions: number[];
  readonly source: Uint8Array;
  /** Where the frame begins, ends, and where its entries begin: all in `source`. */
  readonly start: number;
  readonly end: number;
  readonly entriesStart: number;
}

/** Reads the frame at `at`; undefined when there is no valid one. */
export function readFrame(source: Uint8Array, at: number, salt: number): Frame | undefined {
  if (at < 0 || at + FRAME_HEADER_BYTES > source.length) return undefined;
  const view = new DataView(source.buffer, source.byteOffset + at, source.length - at);
  if (view.getUint32(0, true) !== (FRAME_MAGIC ^ salt) >>> 0) return undefined;
  const bytes = view.getUint32(4, true);
  const rings = view.getUint32(48, true);
  if (bytes > source.length - at || rings > FRAME_RINGS_MAX) return undefined;
  if (bytes !== headerBytes(rings) + view.getUint32(52, true) || (bytes & 7) !== 0) return undefined;
  const crc = crc32(source.subarray(at + CRC_COVERED_START, at + bytes), salt >>> 0);
  if (crc !== view.getUint32(CRC_AT, true)) return undefined;
  const inboxPositions: number[] = [];
  for (let ring = 0; ring < rings; ring++) inboxPositions.push(view.getInt32(FRAME_HEADER_BYTES + 4 * ring, true));
  return {
    sequence: view.getFloat64(16, true),
    syncedSequence: view.getFloat64(24, true),
    flushedSequence: view.getFloat64(32, true),
    writtenAtMs: view.getFloat64(40, true),
    inboxPositions,
    source,
    start: at,
    end: at + bytes,
    entriesStart: at + headerBytes(rings),
  };
}

/**
 * Calls `visit` for each record in the order of writing. `map` may be kept; the image is valid during the call only.
 * Throws GridError LOG_DAMAGED at an entry that this program does not know: a newer one wrote it.
 */
export function forEachRecord(frame: Frame, visit: (kind: StoredKind, map: Uint8Array, image: RecordImage) => void): void {
  const records = new FrameRecords();
  records.open(frame);
  while (records.next()) visit(records.kind, records.map, records.image);
}

/** Walks the records of one frame after another, so that the caller may pause between any two. */
export class FrameRecords {
  kind: StoredKind = KIND_LWW;
  /** Name of the map, UTF-8, in memory of its own. */
  map: Uint8Array = NO_BYTES;
  /** The record; filled anew by each `next`. */
  readonly image = new RecordImage();
  /** Told of each fencing token on the way to the next record; `name` is UTF-8, valid during the call. */
  onFence: (name: Uint8Array, token: number) => void = () => {};
  /** Told of each act over several workers, before its records. */
  onCommit: (act: number) => void = () => {};
  /** Told how a change of whole databases stands; what the note holds is its own. */
  onWhole: (note: WholeNote) => void = () => {};
  #source: Uint8Array = NO_BYTES;
  #view: DataView = new DataView(NO_BYTES.buffer);
  #sequence = 0;
  #at = 0;
  #end = 0;
  #hasMap = false;

  open(frame: Frame): void {
    if (frame.source !== this.#source) {
      this.#source = frame.source;
      this.#view = new DataView(frame.source.buffer, frame.source.byteOffset, frame.source.length);
    }
    this.#sequence = frame.sequence;
    this.#at = frame.entriesStart;
    this.#end = frame.end;
    this.#hasMap = false;
  }

  /** Moves on to the next record; false at the end of the frame. Throws GridError LOG_DAMAGED. */
  next(): boolean {
    while (this.#at < this.#end) {
      const at = this.#at;
      const type = this.#view.getUint32(at, true);
      const bytes = at + 8 <= this.#end ? this.#view.getUint32(at + 4, true) : 0;
      if (bytes < MAP_NAME_START || (bytes & 7) !== 0 || bytes > this.#end - at) throw this.#unknown('an entry of odd length');
      this.#at = at + bytes;
      if (type === ENTRY_RECORD) {
        this.#readRecord(at, bytes);
        return true;
      }
      if (type === ENTRY_FENCE) this.#readFence(at, bytes);
      else if (type === ENTRY_COMMIT) this.onCommit(this.#view.getFloat64(at + 8, true));
      else if (type === ENTRY_WHOLE) this.#readWhole(at, bytes);
      else if (type === ENTRY_MAP) this.#readMap(at, bytes);
      else throw this.#unknown(`an entry of type ${type}`);
    }
    return false;
  }

  #readMap(at: number, bytes: number): void {
    const view = this.#view;
    const kind = view.getUint32(at + 8, true);
    const nameBytes = view.getUint32(at + 12, true);
    if (kind !== KIND_LWW && kind !== KIND_OR && kind !== KIND_COUNTER) throw this.#unknown(`records of kind ${kind}`);
    if (nameBytes > bytes - MAP_NAME_START) throw this.#unknown('a map name longer than its entry');
    this.kind = kind;
    this.#hasMap = true;
    const nameStart = at + MAP_NAME_START;
    if (nameBytes === this.map.length && sameSpan(this.map, 0, this.#source, nameStart, nameBytes)) return;
    this.map = new Uint8Array(nameBytes); // `slice` of a Buffer would keep the whole segment alive
    this.map.set(this.#source.subarray(nameStart, nameStart + nameBytes));
  }

  #readFence(at: number, bytes: number): void {
    const nameBytes = bytes < FENCE_NAME_START ? bytes : this.#view.getUint32(at + 16, true);
    if (nameBytes > bytes - FENCE_NAME_START) throw this.#unknown('a name of a lock longer than its entry');
    const nameStart = at + FENCE_NAME_START;
    this.onFence(this.#source.subarray(nameStart, nameStart + nameBytes), this.#view.getFloat64(at + 8, true));
  }

  #readWhole(at: number, bytes: number): void {
    const view = this.#view;
    const changeBytes = bytes < WHOLE_CHANGE_START ? bytes : view.getUint32(at + 28, true);
    const state = view.getUint32(at + 24, true);
    if (changeBytes > bytes - WHOLE_CHANGE_START) throw this.#unknown('a change of databases longer than its entry');
    if (state !== WHOLE_DECIDED && state !== WHOLE_DONE && state !== WHOLE_OVER)
      throw this.#unknown(`a change in state ${state}`);
    const copy = (start: number, end: number): Uint8Array => Uint8Array.from(this.#source.subarray(at + start, at + end));
    this.onWhole({
      act: view.getFloat64(at + 8, true),
      epoch: view.getFloat64(at + 16, true),
      state,
      partitions: copy(WHOLE_PARTITIONS_START, WHOLE_CHANGE_START),
      change: copy(WHOLE_CHANGE_START, WHOLE_CHANGE_START + changeBytes),
    });
  }

  #readRecord(at: number, bytes: number): void {
    if (!this.#hasMap || bytes < RECORD_SPANS_START) throw this.#unknown('a record without its map');
    const view = this.#view;
    const image = this.image;
    const keyAndTag = view.getUint32(at + 32, true);
    const nodeAndFlags = view.getUint32(at + 36, true);
    const flags = nodeAndFlags >>> 16;
    image.source = this.#source;
    image.millis = view.getFloat64(at + 8, true);
    image.ttlMs = view.getFloat64(at + 16, true);
    image.counter = view.getUint32(at + 24, true);
    image.keyHash = view.getUint32(at + 28, true);
    image.keyStart = at + RECORD_SPANS_START;
    image.keyBytes = keyAndTag & SPAN_MASK;
    image.tagStart = image.keyStart + image.keyBytes;
    image.tagBytes = keyAndTag >>> 16;
    image.nodeStart = image.tagStart + image.tagBytes;
    image.nodeBytes = nodeAndFlags & SPAN_MASK;
    image.valueStart = image.nodeStart + image.nodeBytes;
    image.valueBytes = view.getUint32(at + 40, true);
    image.tombstone = (flags & RECORD_TOMBSTONE) !== 0;
    image.provenance = ((flags >>> RECORD_PROVENANCE_SHIFT) & RECORD_PROVENANCE_MASK) as Provenance;
    if (image.valueStart + image.valueBytes > at + bytes) throw this.#unknown('a record longer than its entry');
  }

  /** A frame whose crc is right was written on purpose: what is not understood here comes from another program. */
  #unknown(what: string): GridError {
    return new GridError(
      'LOG_DAMAGED',
      `frame ${this.#sequence} of the write-ahead log holds ${what}, which this version of Lattice does not know: ` +
        'start the version that wrote it, or a newer one',
    );
  }
}
