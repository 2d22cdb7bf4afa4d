/** What was not applied of a call, and why. */
import { errorNumber } from '../../protocol/errors.ts';

const UNAVAILABLE = errorNumber('UNAVAILABLE');

/** Ops of the call that were not applied: pairs (ordinal, error number). Reused by the caller. */
export class Rejections {
  readonly pairs: number[] = [];
  /** What a guard said of the op at this ordinal. */
  readonly details = new Map<number, string>();
  /** An op can only be judged once a value was read back: the whole call must be refused, and comes again. */
  mustComeAgain = false;

  add(ordinal: number, error: number, detail?: string): void {
    this.pairs.push(ordinal, error);
    if (detail !== undefined) this.details.set(ordinal, detail);
    if (error === UNAVAILABLE) this.mustComeAgain = true;
  }

  clear(): void {
    if (this.pairs.length > 0) this.pairs.length = 0;
    if (this.details.size > 0) this.details.clear();
    this.mustComeAgain = false;
  }
}
