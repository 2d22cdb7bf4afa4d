/**
 * Which frames are in Postgres: pairs of a frame and the staged change behind it, oldest first.
 *
 *   frame     7    9   12   13          flushed(staged = 480) ─▶ frames up to 9 are flushed
 *   staged  400  470  510  533
 *
 * Both numbers rise, so a pair speaks for all frames before it. When the bound is reached every second pair is left
 * out: frames then count as flushed a little late, never early.
 */
export const FLUSH_MARKS_MAX = 4096;

export class FlushMarks {
  #flushedSequence = 0;
  readonly #sequences = new Float64Array(FLUSH_MARKS_MAX);
  readonly #staged = new Float64Array(FLUSH_MARKS_MAX);
  #first = 0;
  #end = 0;

  /** Highest frame that is in Postgres with all before it; 0 when none is. */
  get flushedSequence(): number {
    return this.#flushedSequence;
  }

  /** Frame `sequence` and all before it hold nothing that was staged after `stagedSequence`. */
  note(sequence: number, stagedSequence: number): void {
    if (this.#end === FLUSH_MARKS_MAX) this.#makeRoom();
    this.#sequences[this.#end] = sequence;
    this.#staged[this.#end] = stagedSequence;
    this.#end += 1;
  }

  /** Everything staged up to `stagedSequence` is in Postgres. */
  flushed(stagedSequence: number): void {
    let first = this.#first;
    while (first < this.#end && (this.#staged[first] as number) <= stagedSequence) first += 1;
    if (first === this.#first) return;
    this.#flushedSequence = this.#sequences[first - 1] as number;
    this.#first = first;
  }

  #makeRoom(): void {
    const step = this.#first >= FLUSH_MARKS_MAX / 2 ? 1 : 2;
    let kept = 0;
    // From the end backwards, so that the newest pair stays whatever their number.
    const from = this.#first + ((this.#end - this.#first - 1) % step);
    for (let index = from; index < this.#end; index += step) {
      this.#sequences[kept] = this.#sequences[index] as number;
      this.#staged[kept] = this.#staged[index] as number;
      kept += 1;
    }
    this.#first = 0;
    this.#end = kept;
  }
}
