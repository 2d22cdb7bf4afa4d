/**
 * Clocks that run far ahead, each with a fixed offset that brings its stamps back to server time.
 *
 *   slots    Int32Array   open addressing by the hash of the clock: position of an entry plus 1, 0 free
 *   entries  hash, offset and bytes of the clock, in the order they were added
 *
 * A clock is a node id and whose it is: anybody may write under any node id, but only under his own name, so that nobody has
 * the clock of another corrected. Without names, where there is no authentication, it is the node id alone.
 *
 * A client re-sends every unacknowledged op, so correcting a stamp must give the same result each time: the offset
 * is chosen once, persisted by the owner of this object (`entries`), and never changes. Applied to every LWW stamp of
 * the node it keeps the order of that node's own writes. Lookup takes bytes and makes no strings.
 *
 * When full (`nodesMax`, or a node id or owner that is too long) nothing is evicted, because a forgotten offset would re-order
 * re-sent ops: `add` answers 'full' and the op must be refused until an operator raises the bound or prunes the list.
 */
import { assert } from '../assert.ts';
import { FNV_OFFSET, fmix32, fnv1aUnit } from '../partition/hash.ts';

export const QUARANTINE_NODES_MAX = 4096;

/** Longest node id that can be quarantined. */
export const QUARANTINE_NODE_BYTES_MAX = 255;
/** Longest owner behind it. */
export const QUARANTINE_OWNER_BYTES_MAX = 17;
const NO_OWNER = new Uint8Array(0);

/** One quarantined clock, as it is persisted: its node id, and its owner behind it. */
export interface QuarantineEntry {
  readonly nodeId: Uint8Array;
  /** Added to the millis of each LWW stamp of the node; negative. */
  readonly offsetMs: number;
}

/** Offset that moves a stamp from `stampMillis` to the present or just before it: a whole number of ms, negative. */
export function quarantineOffsetMs(stampMillis: number, nowMs: number): number {
  assert(stampMillis > nowMs, `stamp ${stampMillis} is not ahead of ${nowMs}`);
  return Math.floor(nowMs - stampMillis);
}

export class ClockQuarantine {
  readonly #nodesMax: number;
  readonly #slots: Int32Array;
  readonly #hashes: number[] = [];
  readonly #offsetsMs: number[] = [];
  readonly #nodeIds: Uint8Array[] = [];

  /** `nodesMax` bounds the number of quarantined nodes. */
  constructor(nodesMax: number = QUARANTINE_NODES_MAX) {
    assert(Number.isInteger(nodesMax) && nodesMax > 0, `nodesMax: ${nodesMax}`);
    this.#nodesMax = nodesMax;
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(nodesMax * 2))); // at most half full
  }

  get nodes(): number {
    return this.#hashes.length;
  }

  /** True in a healthy grid: the hot path asks this first and skips the lookup. */
  get isEmpty(): boolean {
    return this.#hashes.length === 0;
  }

  /** Offset of the clock with the node id in `bytes[start, end)`, in ms; 0 when it is trusted. */
  offsetOf(bytes: Uint8Array, start: number, end: number, owner: Uint8Array = NO_OWNER): number {
    if (this.#hashes.length === 0) return 0;
    const hash = hashOf(hashOf(FNV_OFFSET, bytes, start, end), owner, 0, owner.length);
    const entry = this.#slots[this.#slotOf(hash, bytes, start, end, owner)] as number;
    return entry === 0 ? 0 : (this.#offsetsMs[entry - 1] as number);
  }

  /**
   * Quarantines a clock; its bytes, owner included, are copied. 'known' when it already is: its first offset stays, use `offsetOf`.
   * 'full' when there is no room: refuse the op.
   */
  add(nodeId: Uint8Array, offsetMs: number): 'added' | 'known' | 'full' {
    assert(Number.isFinite(offsetMs) && offsetMs < 0, `offset ${offsetMs}`);
    const hash = hashOf(FNV_OFFSET, nodeId, 0, nodeId.length);
    const slot = this.#slotOf(hash, nodeId, 0, nodeId.length, NO_OWNER);
    if (this.#slots[slot] !== 0) return 'known';
    const bytesMax = QUARANTINE_NODE_BYTES_MAX + QUARANTINE_OWNER_BYTES_MAX;
    if (this.#hashes.length === this.#nodesMax || nodeId.length > bytesMax) return 'full';
    this.#hashes.push(hash);
    this.#offsetsMs.push(offsetMs);
    this.#nodeIds.push(nodeId.slice());
    this.#slots[slot] = this.#hashes.length;
    return 'added';
  }

  /** All entries in the order they were added, to be persisted and added again at the next start. */
  entries(): QuarantineEntry[] {
    return this.#nodeIds.map((nodeId, position) => ({ nodeId: nodeId.slice(), offsetMs: this.#offsetsMs[position] as number }));
  }

  /** Slot that holds the node id, or the free one where it belongs. Ends, since half of the slots are free. */
  #slotOf(hash: number, bytes: Uint8Array, start: number, end: number, owner: Uint8Array): number {
    const mask = this.#slots.length - 1;
    let slot = fmix32(hash) & mask;
    for (;;) {
      const entry = this.#slots[slot] as number;
      if (entry === 0) return slot;
      const clock = this.#nodeIds[entry - 1] as Uint8Array;
      if (this.#hashes[entry - 1] === hash && isClock(clock, bytes, start, end, owner)) return slot;
      slot = (slot + 1) & mask;
    }
  }
}

/** FNV-1a of bytes, going on from `from`. */
function hashOf(from: number, bytes: Uint8Array, start: number, end: number): number {
  let hash = from;
  for (let index = start; index < end; index++) hash = fnv1aUnit(hash, bytes[index] as number);
  return hash;
}

/** True when the clock is `bytes[start, end)` with the owner behind it. */
function isClock(clock: Uint8Array, bytes: Uint8Array, start: number, end: number, owner: Uint8Array): boolean {
  const nodeBytes = end - start;
  if (clock.length !== nodeBytes + owner.length) return false;
  for (let index = 0; index < nodeBytes; index++) if (clock[index] !== bytes[start + index]) return false;
  for (let index = 0; index < owner.length; index++) if (clock[nodeBytes + index] !== owner[index]) return false;
  return true;
}
