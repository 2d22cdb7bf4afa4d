/**
 * Classes of requests, and whose turn it is when more wait than the workers take.
 *
 *              weight   passed                a class that is served goes on by cost ÷ weight;
 *   high          3     ──────▶ 40            the one that is furthest behind is next
 *   normal        2     ────────▶ 42
 *   low           1     ─────▶ 39  ◀ next
 *
 * While all three wait they are served 3:2:1 by cost, to within one request, without a round or a table. A class that had
 * nothing to do does not save up: it goes on from where the others are. Source: Waldspurger, stride scheduling.
 */
import { assert } from '../assert.ts';

export const PRIORITIES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** What each class gets of the workers while all wait, as shares of the sum. */
export type PriorityWeights = Readonly<Record<Priority, number>>;

export function isPriority(text: string): text is Priority {
  return text === 'high' || text === 'normal' || text === 'low';
}

/**
 * The class that a caller gets. Anybody may stand back; to go first somebody must be trusted: one with the role `admin`,
 * or anybody where there is no authentication (such a server serves its own machine alone).
 * @param roles of the caller, undefined where there is no authentication.
 */
export function grantedPriority(asked: Priority, roles: readonly string[] | undefined): Priority {
  if (asked !== 'high' || roles === undefined || roles.includes('admin')) return asked;
  return 'normal';
}

export class WeightedTurns {
  readonly #weights: Float64Array;
  readonly #passed = new Float64Array(PRIORITIES.length);
  /** How far the class was that was served last. */
  #nowAt = 0;

  constructor(weights: PriorityWeights) {
    this.#weights = Float64Array.from(PRIORITIES, (priority) => weights[priority]);
    assert(
      this.#weights.every((weight) => weight > 0),
      'a class without weight would wait for ever',
    );
  }

  /**
   * The position in PRIORITIES of the class whose turn it is; -1 when none waits.
   * @param waiting requests of each class that wait, in the order of PRIORITIES.
   */
  next(waiting: ArrayLike<number>): number {
    let next = -1;
    for (let at = 0; at < PRIORITIES.length; at++) {
      if (waiting[at] === 0) continue;
      if (next < 0 || (this.#passed[at] as number) < (this.#passed[next] as number)) next = at;
    }
    return next;
  }

  /** A request of the class was served. @param cost in any unit, the same for all. */
  served(at: number, cost: number): void {
    this.#nowAt = this.#passed[at] as number;
    this.#passed[at] = this.#nowAt + cost / (this.#weights[at] as number);
  }

  /** The class has nothing to do: what the others get meanwhile is not owed to it. */
  idle(at: number): void {
    this.#passed[at] = Math.max(this.#passed[at] as number, this.#nowAt);
  }
}
