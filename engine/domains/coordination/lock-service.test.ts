import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RollCall } from '../../operation/roll-call.ts';
import { REQUEST_FENCE, REQUEST_LOCK, REQUEST_LOCK_RELEASE, REQUEST_LOCK_ROLL } from '../../protocol/envelope.ts';
import { FenceTable } from './fence-table.ts';
import { decodeGrant, encodeAsk, encodeRoll, encodeToken, type GrantTold } from './lock-bodies.ts';
import { LockService, tokenBefore, tokenOf } from './lock-service.ts';

class Bench {
  readonly pushed: (GrantTold & { readonly gateway: number; readonly session: number })[] = [];
  readonly logged: [name: string, token: number][] = [];
  readonly fences = new FenceTable();
  readonly service: LockService;
  nowMs = 0;
  #number = 0;

  constructor(rollGateways = 0) {
    this.service = new LockService({
      pushes: {
        push: (gateway, session, _kind, body) => this.pushed.push({ ...decodeGrant(body), gateway, session }),
      },
      fences: this.fences,
      logFence: (name, token) => this.logged.push([name, token]),
      nextToken: () => tokenOf(7, ++this.#number),
      roll: new RollCall(rollGateways, 0, 10_000),
      monotonicMs: () => this.nowMs,
      limits: { locksMax: 10, waitersPerLockMax: 2, waitersMax: 10, locksPerSessionMax: 10 },
    });
  }

  ask(kind: number, body: Uint8Array, session = 1, gateway = 0): number | undefined {
    return this.service.answer({ kind, body, gateway, session, nowMs: 0 })[0]?.[0];
  }

  lock(session: number, name = 'l', ttlMs?: number): void {
    this.ask(REQUEST_LOCK, encodeAsk({ requestId: `r${session}`, name, ttlMs }), session);
  }
}

test('tokens rise from boot to boot, and are whole numbers that a double holds', () => {
  assert.deepEqual([tokenOf(1, 1), tokenOf(1, 2 ** 32 - 1)], [2 ** 32 + 1, 2 ** 33 - 1]);
  assert.ok(tokenOf(2, 1) > tokenOf(1, 2 ** 32 - 1));
  assert.ok(tokenOf(3, 1) > tokenBefore(3) && tokenOf(2, 2 ** 32 - 1) < tokenBefore(3));
  assert.ok(Number.isSafeInteger(tokenOf(2 ** 20, 2 ** 32 - 1)), 'after a million boots');
});

test('a grant is pushed to the session that asked, by requests, releases, the end of a session, and by time', () => {
  const bench = new Bench();
  bench.lock(1, 'l', 100);
  bench.lock(2);
  bench.lock(3);
  assert.equal(bench.ask(REQUEST_LOCK_RELEASE, encodeToken({ name: 'l', token: tokenOf(7, 2) }), 1), 0);
  bench.nowMs = 100;
  bench.service.tick();
  bench.service.sessionClosed(0, 2);
  assert.equal(bench.ask(REQUEST_LOCK_RELEASE, encodeToken({ name: 'l', token: tokenOf(7, 3) }), 3), 1);
  assert.deepEqual(
    bench.pushed.map(({ session, token, remainingMs }) => [session, token, remainingMs]),
    [
      [1, tokenOf(7, 1), 100],
      [2, tokenOf(7, 2), Number.POSITIVE_INFINITY],
      [3, tokenOf(7, 3), Number.POSITIVE_INFINITY],
    ],
  );
  assert.deepEqual([bench.service.held, bench.service.waiters], [0, 0]);
});

test('a request without room is refused by type', () => {
  const bench = new Bench();
  for (const session of [1, 2, 3]) bench.lock(session);
  assert.throws(() => bench.lock(4), { code: 'OVERLOADED' });
});

test('a fence is noted and logged, again when it is told again, and not when it is old', () => {
  const bench = new Bench();
  const fence = (token: number): number | undefined => bench.ask(REQUEST_FENCE, encodeToken({ name: 'l', token }));
  assert.deepEqual([fence(5), fence(5), fence(9), fence(8)], [1, 1, 1, 0]);
  assert.deepEqual(bench.logged, [
    ['l', 5],
    ['l', 5],
    ['l', 9],
  ]);
  assert.deepEqual([bench.fences.admits('l', 8), bench.fences.admits('l', 9)], [false, true]);
  assert.deepEqual(bench.service.writeKinds, [REQUEST_FENCE], 'refused while the log takes nothing');
});

test('a replaced worker takes over what gateways tell: who holds, who waits', () => {
  const bench = new Bench(2);
  const held = [{ session: 1, name: 'a', token: 3, remainingMs: 50 }];
  const waiting = [{ session: 2, requestId: 'w', name: 'a', ttlMs: undefined }];
  bench.ask(REQUEST_LOCK_ROLL, encodeRoll({ held, waiting, isLast: false }), 0, 1);
  bench.ask(REQUEST_LOCK_ROLL, encodeRoll({ held: [], waiting: [], isLast: true }), 0, 1);
  bench.lock(5, 'b');
  assert.deepEqual(bench.pushed, []);
  bench.ask(REQUEST_LOCK_ROLL, encodeRoll({ held: [], waiting: [], isLast: true }), 0, 0);
  assert.deepEqual(
    bench.pushed.map(({ session, name }) => [session, name]),
    [[5, 'b']],
  );
  bench.nowMs = 50;
  bench.service.tick();
  assert.deepEqual(bench.pushed.at(-1), {
    gateway: 1,
    session: 2,
    requestId: 'w',
    name: 'a',
    token: tokenOf(7, 2),
    remainingMs: Number.POSITIVE_INFINITY,
  });
});
