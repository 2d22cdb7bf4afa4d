/**
 * The scanner's short way through an OP_BATCH, in WebAssembly: see kernel/batch-scan.ts, from which it is compiled.
 *
 *   frame ─ one copy ─▶ INPUT ─ scan ─▶ ROWS ─ pack ─▶ PACKED        memory of the module; rows are read and changed there
 *
 * It reads what the client writes and leaves all else to the scanner. A third of the time a frame: names are compared
 * eight bytes at a time, no load is checked, and no view is made for the frame, since all frames stand at one place.
 */
import { webAssembly } from '../web-assembly.ts';
import { concernOf, WRONG } from './field-names.ts';
import { CONCERN_NONE, type FrameIds, OpIndex, type RowKernel } from './op-index.ts';
import { timeoutOf } from './op-scanner.ts';

interface KernelExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly INPUT: { readonly value: number };
  readonly INPUT_BYTES: { readonly value: number };
  readonly ROWS: { readonly value: number };
  readonly ROWS_MAX: { readonly value: number };
  readonly IDS: { readonly value: number };
  readonly ASKED: { readonly value: number };
  readonly PACKED: { readonly value: number };
  readonly PACKED_BYTES: { readonly value: number };
  scan(bytes: number): number;
  ids(count: number, highestSeen: number): void;
  pack(count: number): number;
}

export class BatchKernel implements RowKernel {
  /** Longest frame that can be scanned. */
  readonly frameBytesMax: number;
  /** The rows of the frame that was scanned last. */
  readonly index: OpIndex;
  readonly packed: Uint8Array;
  readonly packedWords: Int32Array;
  /** Level and deadline (ms) asked for the whole batch that was scanned last; none in most. */
  writeConcern: number = CONCERN_NONE;
  timeoutMs = 0;
  readonly #input: Uint8Array;
  readonly #asked: Int32Array;
  readonly #ids: Float64Array;
  // The object of the exports is a dictionary: a function of it is looked up for each call, and never inlined.
  readonly #scan: KernelExports['scan'];
  readonly #idsOf: KernelExports['ids'];
  readonly #pack: KernelExports['pack'];

  /** @param module the compiled kernel. Throws when it is none. */
  constructor(module: Uint8Array) {
    const { Module, Instance } = webAssembly;
    const kernel = new Instance(new Module(module), {}).exports as KernelExports;
    const { buffer } = kernel.memory;
    this.frameBytesMax = kernel.INPUT_BYTES.value;
    this.#input = new Uint8Array(buffer, kernel.INPUT.value, kernel.INPUT_BYTES.value);
    this.#ids = new Float64Array(buffer, kernel.IDS.value, 5);
    this.#asked = new Int32Array(buffer, kernel.ASKED.value, 3);
    this.#scan = kernel.scan;
    this.#idsOf = kernel.ids;
    this.#pack = kernel.pack;
    this.packed = new Uint8Array(buffer, kernel.PACKED.value, kernel.PACKED_BYTES.value);
    this.packedWords = new Int32Array(buffer, kernel.PACKED.value, kernel.PACKED_BYTES.value >> 2);
    this.index = new OpIndex(buffer, kernel.ROWS.value, kernel.ROWS_MAX.value);
    this.index.bytes = this.#input;
    this.index.view = new DataView(buffer, kernel.INPUT.value, kernel.INPUT_BYTES.value);
    this.index.kernel = this;
  }

  /** Fills `index` from a frame. False when the frame is not written as the client does: then `index` means nothing. */
  scan(frame: Uint8Array): boolean {
    this.#input.set(frame);
    const count = this.#scan(frame.length);
    if (count < 0) return false;
    this.index.count = count;
    return this.#readAsked();
  }

  /** False when what is asked is not what it should be: the scanner says what is wrong. */
  #readAsked(): boolean {
    const concernAt = this.#asked[0] as number;
    const timeoutAt = this.#asked[2] as number;
    this.writeConcern = concernAt === 0 ? CONCERN_NONE : concernOf(this.#input, concernAt, this.#asked[1] as number);
    this.timeoutMs = timeoutAt === 0 ? 0 : timeoutOf(this.#input, timeoutAt);
    return this.writeConcern !== WRONG && this.timeoutMs !== WRONG;
  }

  ids(highestSeen: number, into: FrameIds): void {
    const ids = this.#ids;
    this.#idsOf(this.index.count, highestSeen);
    into.low = ids[0] as number;
    into.high = ids[1] as number;
    into.cost = ids[2] as number;
    into.latestMillis = ids[3] as number;
    into.dense = ids[4] === 1;
  }

  pack(): number {
    return this.#pack(this.index.count);
  }
}
