/**
 * A query of one session: what was asked, which workers were told in which try, and what they have of it.
 */
import { GatheredQuery } from '../engine/domains/query/gathered-query.ts';
import type { QuerySpec } from '../engine/domains/query/query-spec.ts';
import type { Session } from './session.ts';

/** Threads of one worker that may end in a row before they have answered a query: it is not told to a further one. */
const DEATHS_MAX = 2;

/** What does not change about a query. */
export interface AskedQuery {
  readonly session: Session;
  readonly queryId: string;
  /** The gateway's number for it. */
  readonly number: number;
  readonly mapName: string;
  readonly map: Uint8Array;
  /** As it came. */
  readonly query: unknown;
  readonly fields: unknown;
  /** Of both, in MessagePack. */
  readonly bytes: number;
  readonly spec: QuerySpec;
  readonly workers: readonly number[];
  /** When the client stops waiting, ms of the gateway's clock. */
  readonly deadlineMs: number;
}

export class ClientQuery {
  readonly asked: AskedQuery;
  readonly gathered: GatheredQuery;
  /** The row rules under which the workers judge it. */
  scope: number;
  /** The first result was sent. */
  isAnswered = false;
  /** When groups were sent last, ms of the gateway's clock. */
  groupsSentMs = Number.NEGATIVE_INFINITY;
  /** Workers that are to be told (again), and not before when. */
  readonly untold = new Map<number, number>();
  /** Which try each worker is at. */
  readonly #epochs = new Map<number, number>();
  /** Times in a row that a worker was replaced before it had said all. */
  readonly #deaths = new Map<number, number>();

  constructor(asked: AskedQuery, scope: number) {
    this.asked = asked;
    this.scope = scope;
    this.gathered = new GatheredQuery({ ...asked.spec, workers: asked.workers });
    for (const worker of asked.workers) this.untold.set(worker, 0);
  }

  /** The worker is to say all anew, from `atMs` on. What it still says about earlier tries is not heard. */
  restart(worker: number, atMs: number, isSeenAnew: boolean): void {
    if (!this.gathered.asks(worker)) return;
    this.#epochs.set(worker, this.epochOf(worker) + 1);
    this.gathered.restart(worker, isSeenAnew);
    this.untold.set(worker, atMs);
  }

  /** The worker was replaced. True when that came too often while it was at work on this query. */
  isDeadlyTo(worker: number): boolean {
    if (!this.gathered.asks(worker) || this.gathered.hasAllOf(worker)) {
      this.#deaths.delete(worker);
      return false;
    }
    if (this.untold.has(worker)) return false;
    const deaths = (this.#deaths.get(worker) ?? 0) + 1;
    this.#deaths.set(worker, deaths);
    return deaths >= DEATHS_MAX;
  }

  epochOf(worker: number): number {
    return this.#epochs.get(worker) ?? 1;
  }
}
