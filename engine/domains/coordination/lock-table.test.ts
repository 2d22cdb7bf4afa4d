import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RollCall } from '../../operation/roll-call.ts';
import { type LockGrant, type LockLimits, type LockOwner, LockTable, waitMsOf } from './lock-table.ts';

const owner = (session: number, gateway = 0): LockOwner => ({ gateway, session });

class Bench {
  readonly grants: LockGrant[] = [];
  readonly table: LockTable;
  readonly roll: RollCall;
  nowMs = 1000;
  token = 0;

  constructor(limits?: LockLimits, rollGateways = 0) {
    this.roll = new RollCall(rollGateways, this.nowMs, 10_000);
    this.table = new LockTable({
      nextToken: () => ++this.token,
      onGrant: (grant) => this.grants.push(grant),
      roll: this.roll,
      ...(limits === undefined ? {} : { limits }),
    });
  }

  request(session: number, name = 'l', ttlMs: number | null = 1000, requestId = `r${session}`): boolean {
    return this.table.request({ ...owner(session), requestId, name, ttlMs: ttlMs ?? undefined }, this.nowMs);
  }

  release(session: number, token: number, name = 'l'): boolean {
    return this.table.release(owner(session), name, token, this.nowMs);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.table.tick(this.nowMs);
  }

  /** Session and token of each grant since the last call. */
  granted(): [session: number, token: number][] {
    return this.grants.splice(0).map(({ session, token }) => [session, token]);
  }
}

test('one holds, the others wait in their order, and each grant has a higher token', () => {
  const bench = new Bench();
  for (const session of [1, 2, 3]) assert.equal(bench.request(session), true);
  assert.deepEqual(bench.granted(), [[1, 1]]);
  assert.equal(bench.release(1, 1), true);
  assert.deepEqual(bench.granted(), [[2, 2]]);
  assert.equal(bench.release(2, 2), true);
  assert.deepEqual(bench.granted(), [[3, 3]]);
  assert.equal(bench.release(3, 3), true);
  assert.deepEqual([bench.table.held, bench.table.waiters], [0, 0]);
  bench.request(1);
  assert.deepEqual(bench.granted(), [[1, 4]], 'tokens survive a release');
});

test('only the holder releases, and only with its token', () => {
  const bench = new Bench();
  bench.request(1);
  bench.request(2);
  assert.deepEqual(
    [bench.release(1, 2), bench.release(2, 1), bench.release(3, 1), bench.release(1, 1, 'other'), bench.release(1, Number.NaN)],
    [false, false, false, false, false],
  );
  assert.deepEqual(bench.granted(), [[1, 1]]);
  assert.equal(bench.release(1, 1), true);
  assert.equal(bench.release(1, 1), false);
});

test('the holder that asks again gets the same token and no more time', () => {
  const bench = new Bench();
  bench.request(1);
  bench.pass(600);
  bench.request(1, 'l', 1000, 'again');
  assert.deepEqual(
    bench.grants.map(({ requestId, token, remainingMs }) => [requestId, token, remainingMs]),
    [
      ['r1', 1, 1000],
      ['again', 1, 400],
    ],
  );
  bench.pass(400);
  assert.equal(bench.table.held, 0);
});

test('a session that waits twice is granted twice at once, under one token', () => {
  const bench = new Bench();
  bench.request(1);
  bench.request(2, 'l', 1000, 'a');
  bench.request(3);
  bench.request(2, 'l', 1000, 'b');
  bench.grants.splice(0);
  bench.release(1, 1);
  assert.deepEqual(
    bench.grants.map(({ session, requestId, token }) => [session, requestId, token]),
    [
      [2, 'a', 2],
      [2, 'b', 2],
    ],
  );
});

test('a lock ends with its time, by a tick or by the next request, and one without a time does not', () => {
  const bench = new Bench();
  bench.request(1, 'l', 100);
  bench.request(2, 'l', null);
  bench.pass(99);
  assert.deepEqual(bench.granted(), [[1, 1]]);
  bench.pass(1);
  assert.deepEqual(bench.granted(), [[2, 2]]);
  assert.equal(bench.release(1, 1), false, 'its time was over');
  bench.pass(1e9);
  assert.equal(bench.table.held, 1);

  const lazy = new Bench();
  lazy.request(1, 'l', 100);
  lazy.nowMs += 100;
  lazy.request(2);
  assert.deepEqual(lazy.granted(), [
    [1, 1],
    [2, 2],
  ]);
});

test('who has given up is not granted, and hears nothing', () => {
  const bench = new Bench();
  bench.request(1, 'l', null);
  bench.request(2, 'l', 500);
  bench.request(3, 'l', null);
  assert.deepEqual([waitMsOf(500), waitMsOf(undefined)], [5500, 15_000]);
  bench.pass(5500);
  assert.equal(bench.table.waiters, 1);
  bench.release(1, 1);
  assert.deepEqual(bench.granted(), [
    [1, 1],
    [3, 2],
  ]);
});

test('the end of a session frees its locks and drops its requests', () => {
  const bench = new Bench();
  bench.request(1, 'a');
  bench.request(1, 'b');
  bench.request(2, 'a');
  bench.request(1, 'c', 1000, 'c');
  bench.request(3, 'd');
  bench.request(1, 'd');
  bench.grants.splice(0);
  bench.table.sessionClosed(owner(1), bench.nowMs);
  assert.deepEqual(bench.granted(), [[2, 5]]);
  assert.deepEqual([bench.table.held, bench.table.waiters], [2, 0]);
  bench.table.sessionClosed(owner(1, 1), bench.nowMs);
  assert.equal(bench.table.held, 2, 'the same number at another gateway is another session');
});

test('what may be held and waited for is bounded, and a request beyond is not kept', () => {
  const limits = { locksMax: 4, waitersPerLockMax: 2, waitersMax: 3, locksPerSessionMax: 2 };
  const bench = new Bench(limits);
  for (const name of ['a', 'b']) assert.equal(bench.request(1, name), true);
  assert.equal(bench.request(1, 'c'), false, 'locks of a session');
  assert.deepEqual(
    [bench.request(2, 'a'), bench.request(3, 'a'), bench.request(4, 'a')],
    [true, true, false],
    'waiters of a lock',
  );
  assert.deepEqual([bench.request(5, 'b'), bench.request(6, 'b')], [true, false], 'all waiters');
  bench.pass(1e6);
  for (const session of [1, 2, 3]) bench.table.sessionClosed(owner(session), bench.nowMs);
  for (let session = 10; session < 14; session++) assert.equal(bench.request(session, `l${session}`), true);
  assert.equal(bench.request(14, 'l14'), false, 'locks');
});

test('a worker that replaces another grants nothing before all gateways have told, and holders keep their locks', () => {
  const bench = new Bench(undefined, 2);
  bench.token = 50;
  bench.request(7, 'kept', 1000, 'waits');
  bench.request(8, 'free', 1000, 'free');
  bench.request(9, 'kept', 1000, 'asks again');
  bench.roll.told(0);
  bench.pass(10);
  assert.deepEqual(bench.granted(), []);
  bench.table.resume({ ...owner(9), name: 'kept', token: 42, remainingMs: 500 }, bench.nowMs);
  bench.roll.told(1);
  bench.pass(10);
  assert.deepEqual(bench.granted(), [
    [9, 42],
    [8, 51],
  ]);
  bench.request(7, 'kept', 1000, 'waits');
  assert.equal(bench.table.waiters, 1, 'a request that comes twice waits once');
  bench.pass(480);
  assert.deepEqual(bench.granted(), [], 'its time goes on where it stood');
  bench.pass(10);
  assert.deepEqual(bench.granted(), [[7, 52]]);
});

test('gateways that keep silent do not keep locks for ever', () => {
  const bench = new Bench(undefined, 2);
  bench.request(1, 'l', 60_000);
  bench.pass(9_999);
  assert.deepEqual(bench.granted(), []);
  bench.pass(1);
  assert.deepEqual(bench.granted(), [[1, 1]]);
});

test('whatever happens, one session holds a lock at a time, tokens rise, and nobody who waits is forgotten', () => {
  const step = fc.record({
    what: fc.constantFrom('request', 'request', 'request', 'release', 'closed', 'pass'),
    session: fc.integer({ min: 1, max: 5 }),
    lock: fc.integer({ min: 1, max: 3 }),
    ms: fc.integer({ min: 1, max: 4000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const bench = new Bench();
      const holders = new Map<string, { session: number; token: number; endsMs: number }>();
      let requests = 0;
      const takeGrants = (): void => {
        for (const { session, name, token, remainingMs } of bench.grants.splice(0)) {
          const holder = holders.get(name);
          if (holder !== undefined && holder.endsMs > bench.nowMs) {
            assert.deepEqual([session, token], [holder.session, holder.token], `${name} is granted while it is held`);
          } else assert.ok(token > (holder?.token ?? 0), 'a token went back');
          holders.set(name, { session, token, endsMs: bench.nowMs + remainingMs });
        }
      };
      for (const { what, session, lock, ms } of steps) {
        const name = `l${lock}`;
        const holder = holders.get(name);
        if (what === 'request') bench.request(session, name, ms, `r${requests++}`);
        else if (what === 'pass') bench.pass(ms);
        else if (what === 'closed') {
          for (const held of holders.values()) if (held.session === session) held.endsMs = 0;
          bench.table.sessionClosed(owner(session), bench.nowMs);
        } else if (holder !== undefined) {
          const isHeld = holder.session === session && holder.endsMs > bench.nowMs;
          if (isHeld) holder.endsMs = 0;
          assert.equal(bench.release(session, holder.token, name), isHeld);
        }
        takeGrants();
        const held = [...holders.values()].filter(({ endsMs }) => endsMs > bench.nowMs).length;
        assert.equal(bench.table.held, held);
      }
      bench.pass(1e6);
      assert.deepEqual([bench.table.held, bench.table.waiters], [0, 0], 'all have been granted, or have given up');
    }),
  );
});
