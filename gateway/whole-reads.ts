/**
 * Reads that ask several workers, and see each act over several workers (gateway/resp/joint-acts.ts) whole or not at all.
 *
 *   no act under way ─ ask the workers ─ none began meanwhile ─▶ the answer
 *          └──────────────────┴─▶ again, a few times; then acts that have not begun are asked to wait (act-marks.ts)
 *
 * Where there are no acts this costs a look at a few words of memory. Each answer is whole; two pages of one walk are two answers.
 */
import type { ActMarks } from '../engine/domains/kv/act-marks.ts';
import { GridError } from '../engine/protocol/errors.ts';

/** Tries before acts are asked to wait. */
const TRIES = 3;
/** Pause until an act that is under way may have ended, ms. */
const PAUSE_MS = 1;

export class WholeReads {
  readonly #marks: ActMarks;
  readonly #deadlineMs: number;

  constructor(marks: ActMarks, deadlineMs: number) {
    this.#marks = marks;
    this.#deadlineMs = deadlineMs;
  }

  /**
   * What `read` resolves with, when it saw all acts on these maps whole; it is called until it did. Rejects as it does, and with
   * GridError DEADLINE_EXCEEDED where acts leave no room for it.
   */
  async read<Answer>(maps: readonly Uint8Array[], read: () => Promise<Answer>): Promise<Answer> {
    for (let round = 0; round < TRIES; round++) {
      const found = await this.#attempt(maps, read);
      if (found !== undefined) return found.answer;
    }
    this.#marks.addReader();
    try {
      return await this.#readAhead(maps, read);
    } finally {
      this.#marks.removeReader();
    }
  }

  async #readAhead<Answer>(maps: readonly Uint8Array[], read: () => Promise<Answer>): Promise<Answer> {
    const endsMs = performance.now() + this.#deadlineMs;
    while (performance.now() < endsMs) {
      const found = await this.#attempt(maps, read);
      if (found !== undefined) return found.answer;
    }
    throw new GridError('DEADLINE_EXCEEDED', 'commands over several workers changed the map all the time');
  }

  async #attempt<Answer>(
    maps: readonly Uint8Array[],
    read: () => Promise<Answer>,
  ): Promise<{ readonly answer: Answer } | undefined> {
    const place = this.#marks.quiet(maps);
    if (place === undefined) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      return undefined;
    }
    const answer = await read();
    return this.#marks.isQuietSince(place) ? { answer } : undefined;
  }
}
