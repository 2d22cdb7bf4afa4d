/**
 * The newest fencing token of each lock that this worker was told of: a write under an older one is refused.
 *
 *   names    the `namesMax` granted last, oldest first
 *   floor    a token of a name that is not among them must be above it: the tokens of forgotten names, and of what
 *            was before this table began, are below
 *
 * Safe when it forgets: a token that may be old counts as old. Only grants raise a token; a write that names a higher one than was
 * ever granted is let through and changes nothing here, or one client could shut out all others.
 */

/** Names that are remembered. Each new segment of the log begins with all of them, about 60 bytes a name. */
export const FENCE_NAMES_MAX = 16_384;

export class FenceTable {
  readonly #newest = new Map<string, number>();
  readonly #namesMax: number;
  #floor: number;

  constructor(floor = 0, namesMax: number = FENCE_NAMES_MAX) {
    this.#floor = floor;
    this.#namesMax = namesMax;
  }

  get floor(): number {
    return this.#floor;
  }

  get names(): number {
    return this.#newest.size;
  }

  /** True when nothing newer than `token` is known for the lock. */
  admits(lock: string, token: number): boolean {
    const newest = this.#newest.get(lock);
    return newest === undefined ? token > this.#floor : token >= newest;
  }

  /** `token` was granted for the lock. False when a newer one was granted already. */
  raise(lock: string, token: number): boolean {
    if (!this.admits(lock, token)) return false;
    this.#newest.delete(lock); // behind all others
    this.#newest.set(lock, token);
    if (this.#newest.size <= this.#namesMax) return true;
    for (const [oldest, forgotten] of this.#newest) {
      this.#newest.delete(oldest);
      this.raiseFloor(forgotten);
      break;
    }
    return true;
  }

  raiseFloor(floor: number): void {
    this.#floor = Math.max(this.#floor, floor);
  }

  /** Names and tokens, the one granted longest ago first. */
  entries(): IterableIterator<[lock: string, token: number]> {
    return this.#newest.entries();
  }
}
