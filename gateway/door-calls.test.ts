import assert from 'node:assert/strict';
import test from 'node:test';
import type { Priority } from '../engine/operation/priority.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { ENVELOPE } from '../engine/protocol/envelope.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { createGridMemory } from '../workers/grid-memory.ts';
import { RingConsumer, RingProducer } from '../workers/ring.ts';
import { RingWriter } from '../workers/ring-writer.ts';
import { CallTable } from './call-table.ts';
import { DoorCalls } from './door-calls.ts';
import { HeldFrames } from './held-frames.ts';
import { RingWindow } from './ring-window.ts';
import { ringAt } from './testing/one-thread-node.ts';
import { WorkerCalls } from './worker-calls.ts';
import { WorkerLinks } from './worker-links.ts';

const KINDS: Readonly<Record<Priority, number>> = { high: 41, normal: 42, low: 43 };
const BODY = new Uint8Array(512);

/** One worker with a ring of 64 KiB, of which 4 KiB are filled at once; some hundred bytes a call. */
class Doors {
  readonly #calls = new CallTable();
  readonly #held: HeldFrames;
  readonly #links: WorkerLinks;
  readonly #workerCalls: WorkerCalls;
  readonly #inbox: RingConsumer;
  nowMs = 0;

  constructor(framesMax = 1000) {
    const memory = createGridMemory({
      gateways: 1,
      workers: 1,
      ringBytes: 1 << 16,
      messageBytesMax: 1 << 16,
      gatewayCounterNames: [],
    });
    const ring = ringAt(ringAt(memory.inboxes, 0), 0);
    this.#inbox = new RingConsumer(ring, 0);
    const window = new RingWindow(1);
    const writer = new RingWriter(new RingProducer(ring, () => {}));
    this.#links = new WorkerLinks(new PartitionTable(memory.table), [writer], () => true, { window });
    const classes = { weights: { high: 3, normal: 2, low: 1 }, framesMax, window };
    this.#held = new HeldFrames({ bytesMax: 1 << 20, bytesMaxOfAll: 1 << 24, ageMaxMs: 1000, classes });
    const queue = new DoorCalls(this.#held, () => this.nowMs);
    this.#workerCalls = new WorkerCalls({ calls: this.#calls, links: this.#links, queue, deadlineMs: () => 1e6 });
  }

  request(priority: Priority): Promise<Uint8Array[][]> {
    return this.#workerCalls.request(KINDS[priority], [0], () => BODY, { priority });
  }

  /** What the worker takes in one turn; then those who wait are looked at again. */
  turn(): number[] {
    const kinds: number[] = [];
    const onRecord = (ring: RingConsumer, at: number): void => {
      kinds.push(ring.words[(at >> 2) + ENVELOPE.COUNT] as number);
    };
    this.#inbox.drain(1000, { onRecord });
    this.#inbox.release();
    this.#held.retry(
      (session, { call }) => {
        session.heldFor = call?.run() ?? -1;
        return session.heldFor < 0;
      },
      (session) => session.heldFor < 0 || this.#links.hasRoom(session.heldFor),
    );
    return kinds;
  }

  expire(nowMs: number): void {
    this.nowMs = nowMs;
    this.#held.expireCalls(nowMs);
  }
}

test('calls of doors wait for room and are made 3:2:1 while all classes wait', () => {
  const doors = new Doors();
  for (let call = 0; call < 300; call++) for (const priority of ['low', 'normal', 'high'] as const) void doors.request(priority);
  doors.turn();
  const kinds: number[] = [];
  for (let turn = 0; turn < 300 && kinds.length < 300; turn++) kinds.push(...doors.turn());
  const [high = 0, normal = 0, low = 0] = [41, 42, 43].map((kind) => kinds.filter((one) => one === kind).length);
  assert.ok(Math.abs(high / low - 3) <= 0.3, `high ${high}, low ${low}`);
  assert.ok(Math.abs(normal / low - 2) <= 0.2, `normal ${normal}, low ${low}`);
});

test('a class that is full refuses a further call by name', async () => {
  const doors = new Doors(2);
  const calls = Array.from({ length: 20 }, () => asked(doors, 'low'));
  doors.expire(2000);
  const codes = await failures(calls.slice(-2));
  assert.deepEqual(codes, ['OVERLOADED', 'OVERLOADED']);
  await assert.rejects(calls.at(-1) ?? Promise.resolve(), /priority low/);
});

test('a call that waits for too long is answered as late', async () => {
  const doors = new Doors();
  const calls = Array.from({ length: 20 }, () => asked(doors, 'normal'));
  doors.expire(900);
  doors.expire(1001);
  assert.deepEqual(await failures(calls.slice(-2)), ['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED']);
  const made = doors.turn().length;
  assert.ok(made > 0 && made < 20);
  assert.deepEqual(doors.turn(), []);
});

/** Its failure is looked at by whoever asks for it. */
function asked(doors: Doors, priority: Priority): Promise<unknown> {
  const call = doors.request(priority);
  call.catch(() => {});
  return call;
}

/** The codes that the calls failed with. */
async function failures(calls: readonly Promise<unknown>[]): Promise<(string | undefined)[]> {
  const settled = await Promise.allSettled(calls);
  return settled.map((one) => (one.status === 'rejected' && one.reason instanceof GridError ? one.reason.code : undefined));
}

test('a call that is offered again is not counted as refused', () => {
  const window = new RingWindow(1);
  const classes = { weights: { high: 3, normal: 2, low: 1 }, framesMax: 1, window };
  const held = new HeldFrames({ bytesMax: 4096, bytesMaxOfAll: 1 << 20, ageMaxMs: 1000, classes });
  const queue = new DoorCalls(held, () => 0);
  const call = { bytes: 1, run: () => 0, expired: () => {} };
  for (const isOfferedAgain of [true, true, false]) queue.hold('normal', 0, { ...call, isOfferedAgain });
  assert.deepEqual([held.waiting.normal, held.refused.normal], [1, 1]);
});

test('a door that has filled what it may hold leaves room for another', () => {
  const held = new HeldFrames({ bytesMax: 4096, bytesMaxOfAll: 1 << 20, ageMaxMs: 1000 });
  const [first, second] = [new DoorCalls(held, () => 0), new DoorCalls(held, () => 0)];
  const call = { bytes: 1500, run: () => 0, expired: () => {} };
  assert.deepEqual([first.hold('normal', 0, call), first.hold('normal', 0, call)], [true, true]);
  assert.deepEqual([first.hold('normal', 0, call), second.hold('normal', 0, call)], [false, true]);
  const large = { ...call, bytes: 10_000 };
  assert.deepEqual(
    [second.hold('normal', 0, large), second.hold('normal', 1, large)],
    [false, true],
    'alone, a call may be larger',
  );
});
