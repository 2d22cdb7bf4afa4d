/**
 * Locks on a worker, and the fences that every worker keeps.
 *
 *   LOCK, LOCK_RELEASE   to the owner of the name ─ lock-table.ts ─▶ PUSH granted(token) ─▶ the gateway
 *   FENCE(name, token)   from that gateway to every worker, which notes it, logs it, and answers behind the log;
 *                        only then the client gets LOCK_GRANTED
 *
 * So when a client holds a lock, every worker refuses writes under older tokens of it, also after a kill: what tokens it knew
 * stands in its log. Tokens are `boot count × 2^32 + n`, with one n for the whole node in shared memory: they rise over releases,
 * replaced workers and restarts. Source: decisions 23; Kleppmann, How to do distributed locking.
 */
import { assert } from '../../assert.ts';
import type { GridRequest, PushSink, RequestHandler } from '../../operation/request-handler.ts';
import type { RollCall } from '../../operation/roll-call.ts';
import {
  PUSH_LOCK_GRANTED,
  REQUEST_FENCE,
  REQUEST_LOCK,
  REQUEST_LOCK_RELEASE,
  REQUEST_LOCK_ROLL,
} from '../../protocol/envelope.ts';
import { GridError } from '../../protocol/errors.ts';
import type { FenceTable } from './fence-table.ts';
import { decodeAsk, decodeRoll, decodeToken, encodeGrant } from './lock-bodies.ts';
import { type LockGrant, type LockLimits, LockTable } from './lock-table.ts';

/** Numbers of tokens in one boot. */
const TOKENS_PER_BOOT = 2 ** 32;

export function tokenOf(bootCount: number, number: number): number {
  assert(number > 0 && number < TOKENS_PER_BOOT, `lock number ${number}`);
  return bootCount * TOKENS_PER_BOOT + number;
}

/** The highest token that a boot before this one can have given. */
export function tokenBefore(bootCount: number): number {
  return bootCount * TOKENS_PER_BOOT;
}

/** What an answer says: 1 yes, 0 no. */
export const YES = 1;
const NO = 0;

export interface LockServiceOptions {
  readonly pushes: PushSink;
  readonly fences: FenceTable;
  /** Puts a token into the log: the batch at hand is answered when it is there. */
  readonly logFence: (name: string, token: number) => void;
  readonly nextToken: () => number;
  readonly roll: RollCall;
  /** A monotonic clock, ms: a wall clock that is set must not end or prolong a lock. */
  readonly monotonicMs: () => number;
  readonly limits?: LockLimits;
}

export class LockService implements RequestHandler {
  readonly kinds: readonly number[] = [REQUEST_LOCK, REQUEST_LOCK_RELEASE, REQUEST_LOCK_ROLL, REQUEST_FENCE];
  readonly writeKinds: readonly number[] = [REQUEST_FENCE];
  readonly #options: LockServiceOptions;
  readonly #locks: LockTable;

  constructor(options: LockServiceOptions) {
    this.#options = options;
    const { nextToken, roll, limits } = options;
    const onGrant = (grant: LockGrant): void => this.#granted(grant);
    this.#locks = new LockTable({ nextToken, roll, onGrant, ...(limits === undefined ? {} : { limits }) });
  }

  /** Locks that are held, and requests that wait. */
  get held(): number {
    return this.#locks.held;
  }

  get waiters(): number {
    return this.#locks.waiters;
  }

  /** Throws GridError OVERLOADED when there is no room for a request. */
  answer(request: GridRequest): readonly Uint8Array[] {
    switch (request.kind) {
      case REQUEST_LOCK:
        this.#request(request);
        return [];
      case REQUEST_LOCK_RELEASE:
        return [Uint8Array.of(this.#release(request) ? YES : NO)];
      case REQUEST_LOCK_ROLL:
        this.#resume(request);
        return [];
      default:
        return [Uint8Array.of(this.#fence(request.body) ? YES : NO)];
    }
  }

  sessionClosed(gateway: number, session: number): void {
    this.#locks.sessionClosed({ gateway, session }, this.#options.monotonicMs());
  }

  tick(): void {
    this.#locks.tick(this.#options.monotonicMs());
  }

  #request({ body, gateway, session }: GridRequest): void {
    const kept = this.#locks.request({ ...decodeAsk(body), gateway, session }, this.#options.monotonicMs());
    if (!kept) throw new GridError('OVERLOADED', 'too many locks are held or waited for');
  }

  #release({ body, gateway, session }: GridRequest): boolean {
    const { name, token } = decodeToken(body);
    return this.#locks.release({ gateway, session }, name, token, this.#options.monotonicMs());
  }

  #resume({ body, gateway }: GridRequest): void {
    const nowMs = this.#options.monotonicMs();
    const { held, waiting, isLast } = decodeRoll(body);
    for (const lock of held) this.#locks.resume({ ...lock, gateway }, nowMs);
    for (const ask of waiting) this.#locks.request({ ...ask, gateway }, nowMs);
    if (isLast) this.#options.roll.told(gateway);
    this.#locks.tick(nowMs);
  }

  /** False when a newer token of the lock is known. A token that comes again is logged again: its first frame may have failed. */
  #fence(body: Uint8Array): boolean {
    const { name, token } = decodeToken(body);
    if (!this.#options.fences.raise(name, token)) return false;
    this.#options.logFence(name, token);
    return true;
  }

  #granted({ gateway, session, requestId, name, token, remainingMs }: LockGrant): void {
    const body = encodeGrant({ requestId, name, token, remainingMs });
    this.#options.pushes.push(gateway, session, PUSH_LOCK_GRANTED, body);
  }
}
