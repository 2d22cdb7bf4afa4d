/**
 * Token buckets of those who ask over HTTP: one for each subject, and for each address of those who are nobody.
 *
 * `ratePerSecond` units flow in, up to `burst` may wait; a request costs one, a batch of operations one for each. Buckets
 * that were not used for longest are forgotten first, when there are too many: a forgotten one is a full one.
 */
const BUCKETS_MAX = 10_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

export class RequestRate {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #bucketsMax: number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param ratePerSecond units a second that one may use for ever; 0 = no limit. */
  constructor(ratePerSecond: number, burst: number, bucketsMax = BUCKETS_MAX) {
    this.#perMs = ratePerSecond / 1000;
    this.#burst = burst;
    this.#bucketsMax = bucketsMax;
  }

  /** Takes `cost` units of whoever it is; false when there are not enough. More than a full bucket passes when it is full. */
  admit(who: string, cost: number, nowMs: number): boolean {
    if (this.#perMs === 0 || cost === 0) return true;
    const bucket = this.#take(who) ?? { tokens: this.#burst, atMs: nowMs };
    this.#buckets.set(who, bucket); // behind all others
    bucket.tokens = Math.min(this.#burst, bucket.tokens + Math.max(0, nowMs - bucket.atMs) * this.#perMs);
    bucket.atMs = nowMs;
    if (bucket.tokens < Math.min(cost, this.#burst)) return false;
    bucket.tokens -= cost;
    return true;
  }

  #take(who: string): Bucket | undefined {
    const bucket = this.#buckets.get(who);
    if (bucket !== undefined) this.#buckets.delete(who);
    else if (this.#buckets.size >= this.#bucketsMax) {
      for (const oldest of this.#buckets.keys()) {
        this.#buckets.delete(oldest);
        break;
      }
    }
    return bucket;
  }
}
