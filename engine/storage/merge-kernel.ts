/**
 * Joins of usual ops in WebAssembly, where the records lie: see kernel/record-merge.ts, from which it is compiled.
 *
 *   ring ─ one copy ─▶ INPUT ─ warm, merge ─▶ records in KernelMemory, RESULTS ─▶ RecordStore.joined, for each op that was done
 *
 * It does what `RecordStore.join` does up to the record's block, of a put that overwrites; all else it leaves to it, and all
 * that follows from a change (log, staging, Merkle leaf, events) is as ever. A property test holds the two together.
 */
import { assert } from '../assert.ts';
import type { RingMemory } from '../protocol/envelope.ts';
import { webAssembly } from '../web-assembly.ts';
import { KernelMemory, type KernelPlaces } from './kernel-memory.ts';

/** Ops of one run. */
export const RUN_OPS_MAX = 32;
/** Longer ops gain less by the kernel than it costs to bring them there. */
const OP_BYTES_MAX = 2048;
/** Copied word by word up to here: a view costs more. */
const WORD_COPY_BYTES_MAX = 512;

interface KernelExports extends KernelPlaces {
  readonly INPUT: { readonly value: number };
  readonly INPUT_BYTES: { readonly value: number };
  readonly RESULTS: { readonly value: number };
  readonly RESULTS_MAX: { readonly value: number };
  readonly NEXT: { readonly value: number };
  warm(offset: number, count: number, map: number, tables: number): number;
  merge(offset: number, count: number, map: number, tables: number, nowS: number): number;
}

export class MergeKernel {
  readonly memory: KernelMemory;
  /** Of the last run: for each of its ops a reference, with LEAF_BEHIND or without; 0: the stored record is newer. */
  readonly results: Int32Array;
  readonly #next: Int32Array;
  readonly #input: Uint8Array;
  readonly #inputWords: Int32Array;
  // The object of the exports is a dictionary: a function of it is looked up for each call, and never inlined.
  readonly #warm: KernelExports['warm'];
  readonly #merge: KernelExports['merge'];
  #inputAt = 0;

  /**
   * @param module the compiled kernel. Throws when it is none.
   * @param memoryBytes to reserve for records; throws what the system says when it does not let that much be reserved.
   */
  constructor(module: Uint8Array, memoryBytes: number) {
    const { Module, Instance } = webAssembly;
    this.memory = new KernelMemory(memoryBytes);
    const kernel = new Instance(new Module(module), { env: { memory: this.memory.memory } }).exports as KernelExports;
    this.memory.begin(kernel);
    assert(RUN_OPS_MAX <= kernel.RESULTS_MAX.value, 'results of a run have no room');
    const { buffer } = this.memory;
    this.results = new Int32Array(buffer, kernel.RESULTS.value, RUN_OPS_MAX);
    this.#next = new Int32Array(buffer, kernel.NEXT.value, 1);
    this.#input = new Uint8Array(buffer, kernel.INPUT.value, kernel.INPUT_BYTES.value);
    this.#inputWords = new Int32Array(buffer, kernel.INPUT.value, kernel.INPUT_BYTES.value >>> 2);
    this.#warm = kernel.warm;
    this.#merge = kernel.merge;
  }

  /** Brings `count` packed ops, words [from, to) of a ring, to where they are joined. False when they are too long. */
  bring({ words, bytes }: RingMemory, from: number, to: number, count: number): boolean {
    const length = (to - from) << 2;
    if (length > this.#input.length || length > count * OP_BYTES_MAX) return false;
    this.#inputAt = from;
    if (length > WORD_COPY_BYTES_MAX) {
      this.#input.set(bytes.subarray(from << 2, to << 2));
      return true;
    }
    const input = this.#inputWords;
    for (let word = from; word < to; word++) input[word - from] = words[word] as number;
    return true;
  }

  /** Touches the records of `count` ops from a word of the ring on. False when some of them are of another map, or lie elsewhere. */
  warm(word: number, count: number, mapId: number, tables: number): boolean {
    return this.#warm((word - this.#inputAt) << 2, count, mapId, tables) === count;
  }

  /**
   * Joins up to `count` ops, RUN_OPS_MAX at most, of the map with that number and tables (RecordStore.kernelTables), and returns
   * how many it has done: 0 when the first is not for it. `results` says what became of each.
   */
  merge(word: number, count: number, mapId: number, tables: number, nowS: number): number {
    return this.#merge((word - this.#inputAt) << 2, count, mapId, tables, nowS);
  }

  /** Word of the ring at which the op behind the last run begins. */
  get nextWord(): number {
    return this.#inputAt + ((this.#next[0] as number) >>> 2);
  }
}
