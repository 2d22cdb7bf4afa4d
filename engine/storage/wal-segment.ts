/**
 * A segment of the write-ahead log: one file of one worker in one epoch, a header page and then frames.
 *
 *   e<epoch, 10 digits>-w<worker, 3>-<first sequence, 16>.wal
 *
 *   byte     0  header          byte 2048  the same again        byte 4096  frames, then zeros
 *
 *   header   0  'LATTICE WAL\0'      12  format u32     16  epoch u32     20  worker u32    24  firstSequence f64
 *           32  salt u32             36  database bytes u32               40  partitions, a bit each (40 bytes)
 *           80  database (64 bytes)                                      144  crc32 u32 over bytes 0 to 143
 *
 * Two copies, in sectors of their own: any one suffices. Magic, format and the place of the crc are the same in every
 * format, so that an older program can tell a newer file from a damaged one. `database` is the node id that is kept in
 * the database whose changes the log holds. Segments are deleted oldest first, each before the next is touched (with a
 * sync of the folder between): so those missing before the first one were in Postgres, those missing in the middle are lost.
 */
import { crc32 } from 'node:zlib';
import { assert } from '../assert.ts';
import { PARTITION_COUNT } from '../partition/hash.ts';
import { GridError } from '../protocol/errors.ts';

export const SEGMENT_HEADER_BYTES = 4096;
/** The format that is written. */
export const WAL_FORMAT = 1;

const COPY_STARTS = [0, 2048];
const MAGIC = new TextEncoder().encode('LATTICE WAL\0');
const PARTITIONS_START = 40;
const DATABASE_START = 80;
/** Longest database identity, UTF-8. */
export const DATABASE_BYTES_MAX = 64;
const CRC_AT = 144;
const COPY_BYTES = 148;

const NAME = /^e(\d{10})-w(\d{3})-(\d{16})\.wal$/;

export interface SegmentHeader {
  /** Owner epoch of the process that wrote the segment. */
  readonly epoch: number;
  readonly worker: number;
  /** Sequence of the first frame. */
  readonly firstSequence: number;
  /** Random; begins every crc of the file. */
  readonly salt: number;
  /** Partitions that the worker owned, ascending. */
  readonly partitions: readonly number[];
  /** Identity of the database that the records belong to. */
  readonly database: string;
}

export type SegmentPlace = Pick<SegmentHeader, 'epoch' | 'worker' | 'firstSequence'>;

/** Names sort as epochs, workers and sequences do. */
export function segmentName(epoch: number, worker: number, firstSequence: number): string {
  return `e${digits(epoch, 10)}-w${digits(worker, 3)}-${digits(firstSequence, 16)}.wal`;
}

/** Undefined when `name` is no segment's. */
export function parseSegmentName(name: string): SegmentPlace | undefined {
  const [, epoch, worker, firstSequence] = NAME.exec(name) ?? [];
  if (epoch === undefined) return undefined;
  return { epoch: Number(epoch), worker: Number(worker), firstSequence: Number(firstSequence) };
}

/** The whole header page. */
export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const page = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(page.buffer);
  const database = new TextEncoder().encode(header.database);
  assert(database.length <= DATABASE_BYTES_MAX, `the database identity ${header.database} is longer than its field`);
  page.set(MAGIC);
  view.setUint32(12, WAL_FORMAT, true);
  view.setUint32(16, header.epoch, true);
  view.setUint32(20, header.worker, true);
  view.setFloat64(24, header.firstSequence, true);
  view.setUint32(32, header.salt, true);
  view.setUint32(36, database.length, true);
  for (const partition of header.partitions) {
    const at = PARTITIONS_START + (partition >>> 3);
    page[at] = (page[at] as number) | (1 << (partition & 7));
  }
  page.set(database, DATABASE_START);
  view.setUint32(CRC_AT, crc32(page.subarray(0, CRC_AT)), true);
  for (const start of COPY_STARTS) page.set(page.subarray(0, COPY_BYTES), start);
  return page;
}

/**
 * Reads the header from the first bytes of a file; undefined when neither copy is whole.
 * Throws GridError DATA_VERSION for another format.
 */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | undefined {
  const start = COPY_STARTS.find((candidate) => isWhole(bytes, candidate));
  if (start === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, COPY_BYTES);
  const format = view.getUint32(12, true);
  if (format !== WAL_FORMAT) throw otherFormat(format);
  const partitions: number[] = [];
  for (let partition = 0; partition < PARTITION_COUNT; partition++) {
    if ((view.getUint8(PARTITIONS_START + (partition >>> 3)) & (1 << (partition & 7))) !== 0) partitions.push(partition);
  }
  const databaseBytes = Math.min(view.getUint32(36, true), DATABASE_BYTES_MAX);
  const database = bytes.subarray(start + DATABASE_START, start + DATABASE_START + databaseBytes);
  return {
    epoch: view.getUint32(16, true),
    worker: view.getUint32(20, true),
    firstSequence: view.getFloat64(24, true),
    salt: view.getUint32(32, true),
    partitions,
    database: new TextDecoder().decode(database),
  };
}

/** True when both copies are zeros: the page was never written, so nothing in the file was ever synced. */
export function isHeaderUnwritten(bytes: Uint8Array): boolean {
  return COPY_STARTS.every((start) => bytes.subarray(start, start + COPY_BYTES).every((byte) => byte === 0));
}

function isWhole(bytes: Uint8Array, start: number): boolean {
  if (bytes.length < start + COPY_BYTES) return false;
  if (!MAGIC.every((byte, index) => bytes[start + index] === byte)) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, COPY_BYTES);
  return crc32(bytes.subarray(start, start + CRC_AT)) === view.getUint32(CRC_AT, true);
}

function otherFormat(format: number): GridError {
  return new GridError(
    'DATA_VERSION',
    `the write-ahead log is of format ${format}, and this version of Lattice reads format ${WAL_FORMAT}: start the version ` +
      'that wrote it and stop it cleanly, which empties the log',
  );
}

function digits(value: number, count: number): string {
  return String(value).padStart(count, '0');
}
