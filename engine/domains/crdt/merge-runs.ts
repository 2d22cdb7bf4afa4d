/**
 * Runs of usual ops, which the kernel joins (merge-kernel.ts), and when it is worth asking it.
 *
 *   begin ─ a group of packed ops is brought to the kernel ─▶ warm ─▶ join ─ as many as it can ─▶ the caller joins the op behind
 *                                                                      ▲                                     │
 *                                                                      └─────────────────────────────────────┘
 *
 * Bringing ops there and asking in vain costs something. Where keys are new, or ops unusual, the kernel is asked less and less
 * often, until it finds something to do.
 */
import type { RingMemory } from '../../protocol/envelope.ts';
import { FLAG_WRITER_LISTENS, OP_PUT } from '../../protocol/op-index.ts';
import { PACKED, packedBytes, packedFlags } from '../../protocol/packed-op.ts';
import type { MergeKernel } from '../../storage/merge-kernel.ts';
import { KIND_LWW, RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { ChangeEvents } from './change-events.ts';
import type { GridMap, MapCatalogue } from './map-catalogue.ts';
import { pointAtOp } from './packed-image.ts';

/** Ops that are left to the caller at most before the kernel is asked again: some groups of them. */
const OPS_LEFT_OUT_MAX = 128;

export class MergeRuns {
  /** Word of the ring at which the op behind the last run begins. */
  nextWord = 0;
  readonly #kernel: MergeKernel;
  readonly #maps: MapCatalogue;
  readonly #changes: ChangeEvents;
  readonly #image = new RecordImage();
  /** The ops of the group are where the kernel joins them. */
  #isBrought = false;
  /** Ops that are left to the caller before the kernel is asked again, and how many it will be when it has nothing to do then. */
  #opsUntilAsked = 0;
  #opsLeftOut = 1;

  /** @param kernel its memory is that of the slab of the maps' stores. */
  constructor(kernel: MergeKernel, maps: MapCatalogue, changes: ChangeEvents) {
    this.#kernel = kernel;
    this.#maps = maps;
    this.#changes = changes;
  }

  /** Begins a group: brings `ops` packed ops, words [from, to), to the kernel, unless it had nothing to do of late, or has not with the first. */
  begin(memory: RingMemory, from: number, to: number, ops: number, gateway: number): void {
    if (this.#opsUntilAsked > 0) {
      this.#opsUntilAsked = Math.max(0, this.#opsUntilAsked - ops);
      this.#isBrought = false;
      return;
    }
    const map = this.#maps.byId(gateway, memory.words[from + PACKED.MAP_ID] as number);
    const isMerged = map !== undefined && mergedStore(map) !== undefined;
    this.#isBrought = isMerged && this.#kernel.bring(memory, from, to, ops);
  }

  /** Touches the records of the group's ops. False when the kernel cannot: not all of them are of the first one's map, or here. */
  warm(words: Int32Array, word: number, ops: number, gateway: number): boolean {
    if (!this.#isBrought) return false;
    const mapId = words[word + PACKED.MAP_ID] as number;
    const tables = this.#maps.byId(gateway, mapId)?.existing(KIND_LWW)?.kernelTables ?? 0;
    return tables !== 0 && this.#kernel.warm(word, ops, mapId, tables);
  }

  /**
   * Joins ops of the group from `word` on, `left` at most, and returns how many: the next one begins at `nextWord`. 0: the one at
   * `word` is the caller's.
   */
  join(memory: RingMemory, word: number, left: number, gateway: number, session: number, nowMs: number): number {
    if (!this.#isBrought) return 0;
    if (this.#opsUntilAsked > 0) {
      this.#opsUntilAsked -= 1;
      return 0;
    }
    const merged = this.#merge(memory, word, left, gateway, session, nowMs);
    if (merged > 0) this.#opsLeftOut = 1;
    else {
      this.#opsUntilAsked = this.#opsLeftOut;
      this.#opsLeftOut = Math.min(OPS_LEFT_OUT_MAX, this.#opsLeftOut * 2);
    }
    return merged;
  }

  #merge(memory: RingMemory, word: number, left: number, gateway: number, session: number, nowMs: number): number {
    const kernel = this.#kernel;
    const mapId = memory.words[word + PACKED.MAP_ID] as number;
    const map = this.#maps.byId(gateway, mapId);
    const store = map && mergedStore(map);
    if (map === undefined || store === undefined) return 0;
    const opsMax = Math.min(left, store.kernelRunMax);
    const merged = kernel.merge(word, opsMax, mapId, store.kernelTables, (nowMs / 1000) >>> 0);
    this.nextWord = kernel.nextWord;
    const isHeard = this.#changes.isHeard(map);
    let at = word;
    for (let index = 0; index < merged; index++) {
      const isChanged = store.joined(kernel.results[index] as number, nowMs);
      if (!isHeard) continue;
      if (isChanged) this.#tell(map, memory, at, gateway, session);
      at += packedBytes(memory.words, at) >> 2;
    }
    return merged;
  }

  #tell(map: GridMap, memory: RingMemory, word: number, gateway: number, session: number): void {
    const writerListens = (packedFlags(memory.words, word) & FLAG_WRITER_LISTENS) !== 0;
    pointAtOp(this.#image, memory, word);
    this.#changes.changed(map, OP_PUT, this.#image, gateway, session, writerListens);
  }
}

/** The store of which the kernel may join ops; undefined where each must be judged, or nothing of it lies in its memory. */
function mergedStore(map: GridMap): RecordStore | undefined {
  const store = map.guard === undefined ? map.existing(KIND_LWW) : undefined;
  return store !== undefined && store.kernelRunMax > 0 ? store : undefined;
}
