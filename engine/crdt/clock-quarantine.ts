/**
 * Node ids whose clocks run far ahead, each with a fixed offset that brings its stamps back to server time.
 *
 *   slots    Int32Array   open addressing by the hash of the node id: position of an entry plus 1, 0 free
 *   entries  hash, offset and bytes of the node id, in the order they were added
 *
 * A client re-sends every unacknowledged op, so correcting a stamp must give the same result each time: the offset
 * is chosen once, persisted by the owner of this object (`entries`), and never changes. Applied to every LWW stamp of
 * the node it keeps the order of that node's own writes. Lookup takes bytes and makes no strings.
 *
 * When full (`nodesMax`, or a node id over 255 bytes) nothing is evicted, because a forgotten offset would re-order
 * re-sent ops: `add` answers 'full' and the op must be refused until an operator raises the bound or prunes the list.
 */
import { assert } from '../assert.ts';
import { FNV_OFFSET, fmix32, fnv1aUnit } from '../partition/hash.ts';

export const QUARANTINE_NODES_MAX = 4096;

/** Longest node id that can be quarantined. */
export const QUARANTINE_NODE_BYTES_MAX = 255;

/** One quarantined node, as it is persisted. */
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

  /** Offset of the node id in `bytes[start, end)`, in ms; 0 when its clock is trusted. */
  offsetOf(bytes: Uint8Array, start: number, end: number): number {
    if (this.#hashes.length === 0) return 0;
    const entry = this.#slots[this.#slotOf(hashOf(bytes, start, end), bytes, start, end)] as number;
    return entry === 0 ? 0 : (this.#offsetsMs[entry - 1] as number);
  }

  /**
   * Quarantines a node; the bytes are copied. 'known' when it already is: its first offset stays, use `offsetOf`.
   * 'full' when there is no room: refuse the op.
   */
  add(nodeId: Uint8Array, offsetMs: number): 'added' | 'known' | 'full' {
    assert(Number.isFinite(offsetMs) && offsetMs < 0, `offset ${offsetMs}`);
    const hash = hashOf(nodeId, 0, nodeId.length);
    const slot = this.#slotOf(hash, nodeId, 0, nodeId.length);
    if (this.#slots[slot] !== 0) return 'known';
    if (this.#hashes.length === this.#nodesMax || nodeId.length > QUARANTINE_NODE_BYTES_MAX) return 'full';
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
  #slotOf(hash: number, bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    let slot = fmix32(hash) & mask;
    for (;;) {
      const entry = this.#slots[slot] as number;
      if (entry === 0) return slot;
      if (this.#hashes[entry - 1] === hash && isEqual(this.#nodeIds[entry - 1] as Uint8Array, bytes, start, end)) return slot;
      slot = (slot + 1) & mask;
    }
  }
}

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = FNV_OFFSET;
  for (let index = start; index < end; index++) hash = fnv1aUnit(hash, bytes[index] as number);
  return hash;
}

function isEqual(nodeId: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (nodeId.length !== end - start) return false;
  for (let index = 0; index < nodeId.length; index++) if (nodeId[index] !== bytes[start + index]) return false;
  return true;
}
