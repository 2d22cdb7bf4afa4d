/**
 * Who holds which lock, and who waits for it. A pure state machine: the clock is an argument, grants go to a callback.
 *
 *   free ──request──▶ held(owner, token) ──release, expiry, session closed──▶ next waiter, or free
 *                        └── request of another ──▶ waits, in order ──gives up──▶ gone, without a word
 *
 * A lock is never denied: the client takes any answer for a grant (docs/PROTOCOL.md §8.2). A request of the owner is granted again,
 * under the same token and without more time. Tokens only rise, whoever gets them.
 *
 * A worker that replaces another grants nothing until all gateways have told who holds what (RollCall): holders keep their locks.
 */
import type { RollCall } from '../../operation/roll-call.ts';

/** A session at a gateway. */
export interface LockOwner {
  readonly gateway: number;
  readonly session: number;
}

export interface LockRequest extends LockOwner {
  readonly requestId: string;
  readonly name: string;
  /** How long the lock is held at most, ms; undefined: without bound. */
  readonly ttlMs: number | undefined;
}

export interface LockGrant extends LockOwner {
  readonly requestId: string;
  readonly name: string;
  readonly token: number;
  /** Time until it ends by itself, ms; Infinity: never. */
  readonly remainingMs: number;
}

/** A lock that a gateway knows to be held, as it tells a replaced worker. */
export interface HeldLock extends LockOwner {
  readonly name: string;
  readonly token: number;
  readonly remainingMs: number;
}

interface Waiter {
  readonly request: LockRequest;
  readonly givesUpAtMs: number;
}

interface Lock {
  owner: LockOwner | undefined;
  token: number;
  expiresAtMs: number;
  readonly waiters: Waiter[];
}

export interface LockLimits {
  /** Locks that are held or waited for. */
  readonly locksMax: number;
  /** Requests that wait for one lock, and for all. */
  readonly waitersPerLockMax: number;
  readonly waitersMax: number;
  /** Locks that one session holds or waits for. */
  readonly locksPerSessionMax: number;
}

export const LOCK_LIMITS: LockLimits = Object.freeze({
  locksMax: 8192,
  waitersPerLockMax: 1000,
  waitersMax: 8192,
  locksPerSessionMax: 1000,
});

/** The client waits for its TTL and this much, ms; then it takes the lock for denied. */
export const WAIT_BEYOND_TTL_MS = 5000;
/** The TTL of a client that names none. */
const USUAL_TTL_MS = 10_000;

/** How long a client waits for a lock, ms. */
export function waitMsOf(ttlMs: number | undefined): number {
  return (ttlMs ?? USUAL_TTL_MS) + WAIT_BEYOND_TTL_MS;
}

export interface LockTableOptions {
  /** A token above all that were given before. */
  readonly nextToken: () => number;
  readonly onGrant: (grant: LockGrant) => void;
  readonly roll: RollCall;
  readonly limits?: LockLimits;
}

export class LockTable {
  readonly #options: LockTableOptions;
  readonly #limits: LockLimits;
  readonly #locks = new Map<string, Lock>();
  readonly #namesOf = new Map<string, Set<string>>();
  #waiters = 0;
  #mayGrant = false;

  constructor(options: LockTableOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LOCK_LIMITS;
  }

  get held(): number {
    let held = 0;
    for (const lock of this.#locks.values()) if (lock.owner !== undefined) held += 1;
    return held;
  }

  get waiters(): number {
    return this.#waiters;
  }

  /** Grants now, or later, or never. False when there is no room for the request: it is not kept. */
  request(request: LockRequest, nowMs: number): boolean {
    const lock = this.#locks.get(request.name);
    if (lock !== undefined) this.#expire(request.name, lock, nowMs);
    const known = this.#locks.get(request.name);
    if (known?.owner !== undefined && isSame(known.owner, request)) {
      this.#tell(request, known, nowMs);
      return true;
    }
    if (
      known?.waiters.some(({ request: { requestId, ...owner } }) => requestId === request.requestId && isSame(owner, request))
    ) {
      return true; // came twice: its worker was replaced meanwhile
    }
    if (!this.#hasRoom(request, known)) return false;
    this.#enqueue(request, nowMs);
    if (this.#isOpen(nowMs)) this.#grantNext(request.name, nowMs);
    return true;
  }

  /** True when the owner held the lock under that token. */
  release(owner: LockOwner, name: string, token: number, nowMs: number): boolean {
    const lock = this.#locks.get(name);
    if (lock === undefined) return false;
    this.#expire(name, lock, nowMs);
    if (lock.owner === undefined || lock.token !== token || !isSame(lock.owner, owner)) return false;
    this.#free(name, lock, nowMs);
    return true;
  }

  /** All locks of the session are free, and its requests are gone. */
  sessionClosed(owner: LockOwner, nowMs: number): void {
    for (const name of [...(this.#namesOf.get(keyOf(owner)) ?? [])]) {
      const lock = this.#locks.get(name);
      if (lock === undefined) continue;
      this.#dropWaiters(lock, ({ request }) => isSame(request, owner));
      if (lock.owner !== undefined && isSame(lock.owner, owner)) this.#free(name, lock, nowMs);
      else this.#forgetIfIdle(name, lock);
    }
    this.#namesOf.delete(keyOf(owner));
  }

  /** Call it every so often: ends what has lasted too long. */
  tick(nowMs: number): void {
    if (!this.#isOpen(nowMs)) return;
    for (const [name, lock] of this.#locks) this.#expire(name, lock, nowMs);
  }

  /** A gateway tells a replaced worker who held a lock before. */
  resume(held: HeldLock, nowMs: number): void {
    const lock = this.#locks.get(held.name) ?? this.#newLock(held.name);
    if (lock.owner !== undefined && lock.token >= held.token) return;
    lock.owner = { gateway: held.gateway, session: held.session };
    lock.token = held.token;
    lock.expiresAtMs = nowMs + held.remainingMs;
    this.#noteName(held, held.name);
    this.#tellOwnWaiters(lock, nowMs);
  }

  /** The first time it is true, all that waits for free locks is granted. */
  #isOpen(nowMs: number): boolean {
    if (this.#mayGrant) return true;
    if (!this.#options.roll.isComplete(nowMs)) return false;
    this.#mayGrant = true;
    for (const name of [...this.#locks.keys()]) this.#grantNext(name, nowMs);
    return true;
  }

  #hasRoom(request: LockRequest, lock: Lock | undefined): boolean {
    const { locksMax, waitersPerLockMax, waitersMax, locksPerSessionMax } = this.#limits;
    if (lock === undefined && this.#locks.size >= locksMax) return false;
    if ((lock?.waiters.length ?? 0) >= waitersPerLockMax || this.#waiters >= waitersMax) return false;
    return (this.#namesOf.get(keyOf(request))?.size ?? 0) < locksPerSessionMax;
  }

  #enqueue(request: LockRequest, nowMs: number): void {
    const lock = this.#locks.get(request.name) ?? this.#newLock(request.name);
    lock.waiters.push({ request, givesUpAtMs: nowMs + waitMsOf(request.ttlMs) });
    this.#waiters += 1;
    this.#noteName(request, request.name);
  }

  #newLock(name: string): Lock {
    const lock: Lock = { owner: undefined, token: 0, expiresAtMs: 0, waiters: [] };
    this.#locks.set(name, lock);
    return lock;
  }

  #noteName(owner: LockOwner, name: string): void {
    const names = this.#namesOf.get(keyOf(owner)) ?? new Set();
    this.#namesOf.set(keyOf(owner), names.add(name));
  }

  /** Ends the lock when its time is over, and the waiting of those who have given up. */
  #expire(name: string, lock: Lock, nowMs: number): void {
    this.#dropWaiters(lock, ({ givesUpAtMs }) => givesUpAtMs <= nowMs);
    if (lock.owner !== undefined && lock.expiresAtMs <= nowMs) this.#free(name, lock, nowMs);
    else this.#forgetIfIdle(name, lock);
  }

  #free(name: string, lock: Lock, nowMs: number): void {
    const { owner } = lock;
    lock.owner = undefined;
    if (owner !== undefined) this.#forgetName(owner, name, lock);
    this.#grantNext(name, nowMs);
  }

  /** Gives a free lock to the first who waits for it. */
  #grantNext(name: string, nowMs: number): void {
    const lock = this.#locks.get(name);
    if (lock === undefined || lock.owner !== undefined || !this.#mayGrant) return;
    this.#dropWaiters(lock, ({ givesUpAtMs }) => givesUpAtMs <= nowMs);
    const next = lock.waiters[0]?.request;
    if (next === undefined) return this.#forgetIfIdle(name, lock);
    lock.owner = { gateway: next.gateway, session: next.session };
    lock.token = this.#options.nextToken();
    lock.expiresAtMs = nowMs + (next.ttlMs ?? Number.POSITIVE_INFINITY);
    this.#tellOwnWaiters(lock, nowMs);
  }

  /** The owner may have asked several times. */
  #tellOwnWaiters(lock: Lock, nowMs: number): void {
    const { owner } = lock;
    if (owner === undefined) return;
    this.#dropWaiters(lock, ({ request }) => {
      const isOwn = isSame(request, owner);
      if (isOwn) this.#tell(request, lock, nowMs);
      return isOwn;
    });
  }

  #tell({ gateway, session, requestId, name }: LockRequest, { token, expiresAtMs }: Lock, nowMs: number): void {
    this.#options.onGrant({ gateway, session, requestId, name, token, remainingMs: expiresAtMs - nowMs });
  }

  #dropWaiters(lock: Lock, goes: (waiter: Waiter) => boolean): void {
    const staying: Waiter[] = [];
    const going: Waiter[] = [];
    for (const waiter of lock.waiters) (goes(waiter) ? going : staying).push(waiter);
    if (going.length === 0) return;
    lock.waiters.splice(0, lock.waiters.length, ...staying);
    this.#waiters -= going.length;
    for (const { request } of going) this.#forgetName(request, request.name, lock);
  }

  #forgetName(owner: LockOwner, name: string, lock: Lock): void {
    if (lock.owner !== undefined && isSame(lock.owner, owner)) return;
    if (lock.waiters.some(({ request }) => isSame(request, owner))) return;
    const names = this.#namesOf.get(keyOf(owner));
    names?.delete(name);
    if (names?.size === 0) this.#namesOf.delete(keyOf(owner));
  }

  #forgetIfIdle(name: string, lock: Lock): void {
    if (lock.owner === undefined && lock.waiters.length === 0) this.#locks.delete(name);
  }
}

function isSame(left: LockOwner, right: LockOwner): boolean {
  return left.session === right.session && left.gateway === right.gateway;
}

function keyOf({ gateway, session }: LockOwner): string {
  return `${gateway}:${session}`;
}
