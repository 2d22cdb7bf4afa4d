/**
 * How a frame of the write-ahead log lies in its file: the records that one batch of a worker changed.
 *
 *   byte  0  magic u32 ^ salt     4  bytes u32 (whole frame, multiple of 8)     8  crc u32     12  flags u32 (0)
 *        16  sequence f64        24  syncedSequence f64      32  flushedSequence f64      40  writtenAtMs f64
 *        48  ring count u32      52  entry bytes u32         56  inbox position i32 a ring, padded to 8      then entries
 *
 *   every entry   word 0 type   word 1 its bytes, multiple of 8
 *   MAP 1         word 2 kind   word 3 name bytes     byte 16  name
 *   RECORD 2      byte 8 millis f64   16 ttlMs f64   24 counter u32   28 keyHash u32   32 keyBytes u16 | tagBytes u16 << 16
 *                 36 nodeBytes u16 | flags u16 << 16   40 valueBytes u32   44  key, tag, node, value without gaps
 *   PREPARE 3     reserved: refused as unknown
 *   COMMIT 4      byte 8 number of the act f64        what follows in the frame is its, also records that other workers own
 *   FENCE 5       byte 8 token f64   word 4 name bytes   20  name of the lock; without one the token is that of all forgotten names
 *   WHOLE 6       byte 8 number of the act f64   16 its owner epoch f64   24 state u32   28 change bytes u32   32 partitions, a bit each,
 *                 40 bytes   72 change: see whole-act-note.ts
 *
 * Little-endian. The crc (zlib.crc32, begun with the salt) covers all behind its word; `bytes` lies before it and must
 * equal what the covered counts add up to. The salt is a random number of the file: nobody who chooses values knows it,
 * so neither a value that looks like a frame passes as one, nor does it cost more to search past than any other bytes.
 */
export const FRAME_MAGIC = 0x4c57_4c46;
export const FRAME_HEADER_BYTES = 56;
/** Inbox positions that a frame can carry. */
export const FRAME_RINGS_MAX = 64;
export const CRC_AT = 8;
export const CRC_COVERED_START = 12;

export const ENTRY_MAP = 1;
export const ENTRY_RECORD = 2;
/** Reserved. */
export const ENTRY_PREPARE = 3;
/** Begins the writes of an act over several workers. */
export const ENTRY_COMMIT = 4;
export const COMMIT_BYTES = 16;
/** The newest fencing token of a lock. */
export const ENTRY_FENCE = 5;
export const FENCE_NAME_START = 20;
/** How a change of whole databases stands. */
export const ENTRY_WHOLE = 6;
export const WHOLE_PARTITIONS_START = 32;
export const WHOLE_CHANGE_START = WHOLE_PARTITIONS_START + 40;
export const MAP_NAME_START = 16;
export const RECORD_SPANS_START = 44;

/** Bits of a record's flags. */
export const RECORD_TOMBSTONE = 1;
export const RECORD_PROVENANCE_SHIFT = 1;
export const RECORD_PROVENANCE_MASK = 7;

/** Bytes before the entries of a frame with so many inbox positions. */
export function headerBytes(rings: number): number {
  return FRAME_HEADER_BYTES + ((4 * rings + 7) & ~7);
}
