/**
 * Named numbers in shared memory: a thread writes its own row, any thread reads all of them.
 *
 *              name 0   name 1   name 2   …           one 64-bit float a cell
 *   row 0    [        |        |        |   ]         one row per writer (thread, or ring), and each row begins on a
 *   row 1    [        |        |        |   ]         cache line of its own, so writers do not slow each other
 *
 * One writer per row means that plain stores are enough: no lock, no atomic add. A float counts exactly to 2^53.
 * The memory does not carry the names; both sides make their view from the same list.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { assert } from '../engine/assert.ts';

const CELLS_PER_LINE = 8;

/** What a thread says about itself. Gauges are marked; the others only grow. */
export const THREAD_COUNTERS = [
  'startedAtMs', // wall clock; uptime = now - this
  'lastHealthCheckAtMs', // wall clock, of its last report
  'turns',
  'batches',
  'records',
  'loopDelayP50Ms', // gauge, of the last sample
  'loopDelayP99Ms', // gauge
  'loopDelayMaxMs', // gauge
  'heapUsedBytes', // gauge
] as const;

export type ThreadCounter = (typeof THREAD_COUNTERS)[number];

function cellsPerRow(names: readonly string[]): number {
  return Math.ceil(names.length / CELLS_PER_LINE) * CELLS_PER_LINE;
}

export function createCounters(names: readonly string[], rows: number): SharedArrayBuffer {
  return new SharedArrayBuffer(rows * cellsPerRow(names) * Float64Array.BYTES_PER_ELEMENT);
}

/** The row of one writer. */
export class CounterRow<Name extends string> {
  /** The cells, in the order of the names, for writers that have resolved an index with `indexOf`. */
  readonly cells: Float64Array;
  readonly #names: readonly Name[];

  constructor(memory: SharedArrayBuffer, names: readonly Name[], row: number) {
    const cells = cellsPerRow(names);
    const rows = memory.byteLength / (cells * Float64Array.BYTES_PER_ELEMENT);
    assert(Number.isInteger(row) && row >= 0 && row < rows, `row ${row} of ${rows}`);
    this.cells = new Float64Array(memory, row * cells * Float64Array.BYTES_PER_ELEMENT, names.length);
    this.#names = names;
  }

  /** The cell of a name. Resolve it once, not per record. */
  indexOf(name: Name): number {
    const index = this.#names.indexOf(name);
    assert(index >= 0, `no counter ${name}`);
    return index;
  }

  add(index: number, amount: number): void {
    this.cells[index] = (this.cells[index] as number) + amount;
  }

  set(name: Name, value: number): void {
    this.cells[this.indexOf(name)] = value;
  }

  get(name: Name): number {
    return this.cells[this.indexOf(name)] as number;
  }

  /** All of the row, by name. */
  toObject(): Record<string, number> {
    return Object.fromEntries(this.#names.map((name, index) => [name, this.cells[index] as number]));
  }

  /** All names and values, for metrics and admin pages. */
  read(): Record<Name, number> {
    const entries = this.#names.map((name, index) => [name, this.cells[index] as number] as const);
    return Object.fromEntries(entries) as Record<Name, number>; // Object.fromEntries forgets the names' type
  }
}

/** Wakes a thread 5 times a second, in native code. */
const LOOP_DELAY_RESOLUTION_MS = 200;
const NANOSECONDS_PER_MS = 1e6;

/** Measures how late this thread's event loop is, and writes it into the thread's row when asked to. */
export class LoopDelaySampler {
  readonly #histogram: IntervalHistogram;
  readonly #row: CounterRow<ThreadCounter>;

  constructor(row: CounterRow<ThreadCounter>) {
    this.#row = row;
    this.#histogram = monitorEventLoopDelay({ resolution: LOOP_DELAY_RESOLUTION_MS });
    this.#histogram.enable();
  }

  /** Writes what was measured since the last call, and starts again. Called by the thread itself, every second or so. */
  sample(): void {
    const histogram = this.#histogram;
    this.#row.set('loopDelayP50Ms', lateMs(histogram.percentile(50)));
    this.#row.set('loopDelayP99Ms', lateMs(histogram.percentile(99)));
    this.#row.set('loopDelayMaxMs', lateMs(histogram.max));
    histogram.reset();
  }

  stop(): void {
    this.#histogram.disable();
  }
}

/** The histogram holds the time between two firings of its timer, not how late the second one was. */
function lateMs(intervalNanoseconds: number): number {
  return Math.max(0, intervalNanoseconds / NANOSECONDS_PER_MS - LOOP_DELAY_RESOLUTION_MS);
}
