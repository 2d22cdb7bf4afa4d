/**
 * A closed loop of durable writes: so many are out, and as soon as some are on the disk, as many new ones follow.
 *
 *   write 1024 ─▶ writer ─▶ durable(1024) ─▶ latencies counted ─▶ write 1024 …
 *
 * Writes become durable in the order in which they were written, in groups, so a group has one entry: timing them costs
 * no writer anything worth mentioning.
 */
import { assert } from '../engine/assert.ts';
import { LatencyHistogram } from './statistics.ts';

/** What is measured. */
export interface DurableWriter {
  /** Writes records `first` to `first + count - 1`; `durable` is told, in order and in any portions, how many more are on the disk. */
  write(first: number, count: number, durable: (count: number) => void): void;
  /** Resolves when the files are closed. */
  close(): Promise<void>;
}

interface Group {
  left: number;
  readonly writtenAtUs: number;
}

/** Figures of the window between `beginWindow` and `endWindow`. */
export interface WindowFigures {
  readonly writes: number;
  readonly windowMs: number;
  readonly cpuMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export class OutstandingWrites {
  /** Writes that were begun, and that are on the disk. */
  written = 0;
  durable = 0;
  readonly #writer: DurableWriter;
  readonly #outstanding: number;
  readonly #nowUs: () => number;
  readonly #latencies = new LatencyHistogram();
  readonly #groups: Group[] = [];
  readonly #onDurable = (count: number): void => this.#take(count);
  #stopped: (() => void) | undefined;
  #cpuBefore = process.cpuUsage();
  #begunUs = 0;
  #durableBefore = 0;

  constructor(writer: DurableWriter, outstanding: number, nowUs: () => number = () => performance.now() * 1000) {
    this.#writer = writer;
    this.#outstanding = outstanding;
    this.#nowUs = nowUs;
  }

  start(): void {
    this.#write(this.#outstanding);
  }

  beginWindow(): void {
    this.#latencies.clear();
    this.#durableBefore = this.durable;
    this.#cpuBefore = process.cpuUsage();
    this.#begunUs = this.#nowUs();
  }

  endWindow(): WindowFigures {
    const { user, system } = process.cpuUsage(this.#cpuBefore);
    return {
      writes: this.durable - this.#durableBefore,
      windowMs: (this.#nowUs() - this.#begunUs) / 1000,
      cpuMs: (user + system) / 1000,
      p50Us: this.#latencies.quantile(0.5),
      p99Us: this.#latencies.quantile(0.99),
    };
  }

  /** Begins no further write; resolves when all are on the disk. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#stopped = resolve;
      if (this.durable === this.written) resolve();
    });
  }

  #write(count: number): void {
    this.#groups.push({ left: count, writtenAtUs: this.#nowUs() });
    const first = this.written;
    this.written += count;
    this.#writer.write(first, count, this.#onDurable);
  }

  #take(count: number): void {
    assert(this.durable + count <= this.written, 'more is durable than was written');
    this.durable += count;
    this.#record(count);
    if (this.#stopped === undefined) this.#write(count);
    else if (this.durable === this.written) this.#stopped();
  }

  #record(count: number): void {
    const nowUs = this.#nowUs();
    for (let left = count; left > 0; ) {
      const group = this.#groups[0] as Group;
      const taken = Math.min(left, group.left);
      this.#latencies.record(nowUs - group.writtenAtUs, taken);
      group.left -= taken;
      left -= taken;
      if (group.left === 0) this.#groups.shift();
    }
  }
}
