/**
 * What one row may cost a query: steps, each about a character that is looked at, a few nanoseconds.
 *
 *   leaf ─ spend(steps it is about to take) ─▶ … ─▶ none left: GridError BAD_REQUEST, the query ends, the worker goes on
 *
 * All leaves of a predicate spend from one budget, so a long text costs the same bound however many leaves look at it. Work that
 * is dearer than a character by nature (a word, a field's name, a state of an expression) counts as several.
 */
import { GridError } from '../../protocol/errors.ts';

/** Of one query on one row: tens of milliseconds. A text of 2 MiB passes any one operator with a usual operand. */
export const QUERY_STEPS_MAX = 2 ** 24;
/** Of all live queries of a map on one row. Those behind it have only what a row of usual size costs. */
const ROW_STEPS_MAX = 2 ** 26;
const QUERY_STEPS_MIN = 2 ** 14;

export class StepBudget {
  #left: number;

  constructor(steps: number = QUERY_STEPS_MAX) {
    this.#left = steps;
  }

  get left(): number {
    return this.#left;
  }

  /** Begins anew. */
  refill(steps: number = QUERY_STEPS_MAX): this {
    this.#left = steps;
    return this;
  }

  /** Call it before the work. Throws GridError BAD_REQUEST when there are not so many steps left; then none are. */
  spend(steps: number): void {
    this.#left -= steps;
    if (this.#left >= 0) return;
    this.#left = 0;
    throw new GridError(
      'BAD_REQUEST',
      'the query costs too much on a row: ask for less of long texts and lists, or in fewer leaves',
    );
  }
}

/** Deals out the steps of one row to the queries that judge it, one after the other. */
export class RowSteps {
  readonly #budget = new StepBudget();
  #given = 0;
  #spent = 0;

  /** Another row. */
  begin(): void {
    this.#given = 0;
    this.#spent = 0;
    this.#budget.refill(0);
  }

  /** The budget of the next query. */
  next(): StepBudget {
    this.#spent = this.spent;
    this.#given = Math.max(QUERY_STEPS_MIN, Math.min(QUERY_STEPS_MAX, ROW_STEPS_MAX - this.#spent));
    return this.#budget.refill(this.#given);
  }

  /** True when the last budget was less than a query may have, because of those before it, and is spent. */
  get isUsedUpByOthers(): boolean {
    return this.#given < QUERY_STEPS_MAX && this.#budget.left === 0;
  }

  /** Of all queries so far. */
  get spent(): number {
    return this.#spent + this.#given - this.#budget.left;
  }
}
