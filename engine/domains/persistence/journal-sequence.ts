/**
 * The numbers of journal events: one counter for all workers, in shared memory.
 *
 *   word 0 (i64)  the number that comes next, from 1          any worker, atomically
 *   word 1 (i64)  owner epoch of this process                 main thread, before the workers start
 *   word 2 (i64)  1 once somebody has asked for the journal   any gateway
 *
 * On the wire a sequence is `epoch × 2^40 + number` in decimal: the epoch rises with each start and is kept in Postgres, so a
 * sequence never comes twice and never goes back, and nothing is written for it. A process has 10^12 numbers. Inside,
 * a number stands alone, as a double. What is below 2^40 is of no epoch: it means "from the oldest on".
 */
const NEXT = 0;
const EPOCH = 1;
const ASKED = 2;
const WORDS = 3;
const NUMBER_BITS = 40n;
const SEQUENCE = /^\d{1,24}$/;

export class JournalSequence {
  readonly #words: BigInt64Array<ArrayBufferLike>;
  readonly #base: () => bigint;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new BigInt64Array(memory);
    this.#base = () => Atomics.load(this.#words, EPOCH) << NUMBER_BITS;
  }

  static create(): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(WORDS * 8);
    Atomics.store(new BigInt64Array(memory), NEXT, 1n);
    return memory;
  }

  set epoch(epoch: number) {
    Atomics.store(this.#words, EPOCH, BigInt(epoch));
  }

  /** Takes the next number. */
  take(): number {
    return Number(Atomics.add(this.#words, NEXT, 1n));
  }

  /** The number that will be taken next: every event so far has a lower one. */
  get next(): number {
    return Number(Atomics.load(this.#words, NEXT));
  }

  /** True from the first time on that somebody has asked for the journal. */
  get asked(): boolean {
    return Atomics.load(this.#words, ASKED) === 1n;
  }

  ask(): void {
    Atomics.store(this.#words, ASKED, 1n);
  }

  textOf(number: number): string {
    return String(this.#base() + BigInt(number));
  }

  /** The number that a client's text means: 1 for "from the oldest on", 0 for a sequence of an earlier process; undefined: no sequence. */
  numberOf(text: string): number | undefined {
    if (!SEQUENCE.test(text)) return undefined;
    const sequence = BigInt(text);
    if (sequence >> NUMBER_BITS === 0n && this.#base() > 0n) return 1;
    const number = sequence - this.#base();
    return number < 0n ? 0 : Number(number);
  }
}
