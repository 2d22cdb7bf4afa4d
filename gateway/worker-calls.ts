/**
 * Questions to workers: to one, some or all of them, until each has answered or the deadline has passed.
 *
 *   ask      for a session: a gather takes the answers as they come (call-table.ts)
 *   request  for a door without sessions: a promise of all answers, through layers of its own: circuit breaker → retry
 *
 * A session may have some questions under way; a further one is held by the dispatcher, in its order. A door is refused, or
 * waits as others do (door-calls.ts): for its turn while priorities are on, and, where it says so, for a worker that is replaced.
 */
import { errorNumber, ERROR_CODES, GridError } from '../engine/protocol/errors.ts';
import type { CallTable, Gather } from './call-table.ts';
import { circuitBreaker } from '../engine/operation/interceptors/circuit-breaker.ts';
import { RETRY_DEFAULTS, retry } from '../engine/operation/interceptors/retry.ts';
import { type Handler, pipeline } from '../engine/operation/pipeline.ts';
import type { Priority } from '../engine/operation/priority.ts';
import { type DoorCalls, NO_CONNECTION } from './door-calls.ts';
import { Session } from './session.ts';
import type { WorkerLinks } from './worker-links.ts';

/** Calls of a session, above which its further questions wait: an answer may be megabytes, and a worker answers in its order. */
const QUESTION_CALLS_MAX = 64;

export interface WorkerCallsOptions {
  readonly calls: CallTable;
  readonly links: WorkerLinks;
  readonly queue: DoorCalls;
  readonly deadlineMs: () => number;
  /** Told of each request that is made again. */
  readonly onRetry?: () => void;
}

/** How a door wants its request to be treated. */
export interface RequestManner {
  /** Its class, of use while priorities are on. */
  readonly priority?: Priority;
  /**
   * Whether a failed request is made again, a few times: never, which keeps the order of a door's requests; when no worker has
   * accepted it; or also when one may have, because a repeat changes nothing. Default never.
   */
  readonly repeats?: 'never' | 'unaccepted' | 'idempotent';
  /** Waits for a worker that is loading or replaced, and is not refused: it is held, in bytes and age as frames are. */
  readonly waits?: boolean;
}

interface DoorRequest extends RequestManner {
  readonly kind: number;
  readonly workers: readonly number[];
  readonly bodyOf: (worker: number) => Uint8Array;
}

/** No worker has seen the request. */
class NotAccepted extends GridError {}

export class WorkerCalls {
  readonly #options: WorkerCallsOptions;
  /** Stands for the doors in the call table. */
  readonly #door = new Session(0, NO_CONNECTION, true, 0);
  readonly #everyone: readonly number[];
  readonly #pipeline: Handler<DoorRequest, Promise<Uint8Array[][]>>;

  constructor(options: WorkerCallsOptions) {
    this.#options = options;
    this.#everyone = Array.from({ length: options.links.count }, (_, worker) => worker);
    let silent = -1;
    this.#pipeline = pipeline<DoorRequest, Promise<Uint8Array[][]>>(
      [
        circuitBreaker(
          (request) => {
            silent = this.#silent(request);
            return silent >= 0;
          },
          () => Promise.reject(new NotAccepted('UNAVAILABLE', `worker ${silent} does not answer`)),
        ),
        retry({ policy: RETRY_DEFAULTS, mayRepeat, pause, random: Math.random, onRetry: () => options.onRetry?.() }),
      ],
      (request) => this.#request(request),
    );
  }

  /** The numbers of all workers. */
  get everyone(): readonly number[] {
    return this.#everyone;
  }

  /** Asks each of the workers. False when no call is free now: the same question again later. */
  ask(
    session: Session,
    kind: number,
    workers: readonly number[],
    bodyOf: (worker: number) => Uint8Array,
    gather: Gather,
  ): boolean {
    return session.openCalls < QUESTION_CALLS_MAX && this.#ask(session, kind, workers, bodyOf, gather);
  }

  /** As `ask`, for the gateway itself, which asks little and waits for nobody's turn. False also while one of the workers is not open. */
  gather(kind: number, workers: readonly number[], bodyOf: (worker: number) => Uint8Array, gather: Gather): boolean {
    if (workers.some((worker) => !this.#options.links.isOpen(worker))) return false;
    return this.#ask(this.#door, kind, workers, bodyOf, gather);
  }

  /**
   * Asks each of the workers; resolves with each worker's parts, in the order of `workers`. While priorities are on,
   * calls of one class for one worker are asked in their order.
   * Rejects with GridError: OVERLOADED when too many calls are under way or wait, UNAVAILABLE while one of the workers takes
   * nothing (unless the request waits) or does not answer, DEADLINE_EXCEEDED, or what a worker answered.
   */
  request(
    kind: number,
    workers: readonly number[],
    bodyOf: (worker: number) => Uint8Array,
    manner: RequestManner = {},
  ): Promise<Uint8Array[][]> {
    return this.#pipeline({ kind, workers, bodyOf, ...manner });
  }

  #request({ kind, workers, bodyOf, priority = 'normal', waits = false }: DoorRequest): Promise<Uint8Array[][]> {
    const { links, queue } = this.#options;
    const down = workers.find((worker) => !links.isOpen(worker));
    if (down !== undefined && !waits)
      return Promise.reject(new NotAccepted('UNAVAILABLE', `worker ${down} takes no requests now`));
    return new Promise((resolve, reject) => {
      const gather = new PromisedParts(workers, resolve, reject);
      const ask = (bodyOf: (worker: number) => Uint8Array): void => {
        if (this.#ask(this.#door, kind, workers, bodyOf, gather)) return;
        reject(new NotAccepted('OVERLOADED', 'too many calls are under way'));
      };
      const blocked = links.firstBlockedOf(workers);
      if (blocked < 0) return ask(bodyOf);
      const bodies = new Map(workers.map((worker) => [worker, bodyOf(worker)]));
      const run = (): number => {
        const stillBlocked = links.firstBlockedOf(workers);
        if (stillBlocked < 0) ask((worker) => bodies.get(worker) ?? NO_BODY);
        return stillBlocked;
      };
      const bytes = [...bodies.values()].reduce((sum, body) => sum + body.length, 0);
      const isHeld = queue.hold(priority, blocked, { bytes, run, expired: () => gather.expired() });
      if (!isHeld) reject(new NotAccepted('OVERLOADED', `too many requests of priority ${priority} wait`));
    });
  }

  /** The first of the workers that does not answer. */
  #silent({ workers }: DoorRequest): number {
    return this.#options.links.firstRefused(workers.reduce((bits, worker) => bits | (1 << worker), 0));
  }

  #ask(
    session: Session,
    kind: number,
    workers: readonly number[],
    bodyOf: (worker: number) => Uint8Array,
    gather: Gather,
  ): boolean {
    const { calls, links } = this.#options;
    const deadlineMs = this.#options.deadlineMs();
    const slot = calls.claim(session, deadlineMs);
    if (slot < 0) return false;
    calls.gathers[slot] = gather;
    for (const worker of workers) calls.waiting[slot] = (calls.waiting[slot] as number) | (1 << worker);
    for (const worker of workers) links.request(worker, calls.callId(slot), session.id, kind, bodyOf(worker), deadlineMs);
    return true;
  }
}

/** Gathers the parts of each worker's answer. The first error ends it. */
class PromisedParts implements Gather {
  readonly #workers: readonly number[];
  readonly #parts: readonly Uint8Array[][];
  readonly #resolve: (parts: Uint8Array[][]) => void;
  readonly #reject: (error: GridError) => void;
  #error = -1;

  constructor(workers: readonly number[], resolve: (parts: Uint8Array[][]) => void, reject: (error: GridError) => void) {
    this.#workers = workers;
    this.#parts = workers.map(() => []);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  answered(worker: number, error: number, body: Uint8Array): void {
    if (error >= 0) this.#error = error;
    else this.#parts[this.#workers.indexOf(worker)]?.push(body);
  }

  complete(): void {
    if (this.#error >= 0) this.#fail(this.#error);
    else this.#resolve([...this.#parts]);
  }

  expired(): void {
    this.#fail(errorNumber('DEADLINE_EXCEEDED'));
  }

  #fail(error: number): void {
    const code = ERROR_CODES[error] ?? 'INTERNAL';
    this.#reject(new GridError(code, `${code}: the request failed`));
  }
}

function mayRepeat({ repeats = 'never' }: DoorRequest, error: unknown): boolean {
  if (!(error instanceof GridError) || !error.retryable) return false;
  return repeats === 'idempotent' || (repeats === 'unaccepted' && error instanceof NotAccepted);
}

function pause(pauseMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pauseMs));
}

const NO_BODY = new Uint8Array(0);
