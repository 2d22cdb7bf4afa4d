import assert from 'node:assert/strict';
import test from 'node:test';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { ENVELOPE } from '../engine/protocol/envelope.ts';
import { errorNumber, GridError } from '../engine/protocol/errors.ts';
import { createGridMemory } from '../workers/grid-memory.ts';
import { RingConsumer, RingProducer } from '../workers/ring.ts';
import { RingWriter } from '../workers/ring-writer.ts';
import { CallTable } from './call-table.ts';
import { DoorCalls } from './door-calls.ts';
import { HeldFrames } from './held-frames.ts';
import { ringAt } from './testing/one-thread-node.ts';
import { WorkerCalls } from './worker-calls.ts';
import { WorkerLinks } from './worker-links.ts';

class CallsUnderTest {
  readonly calls = new CallTable();
  readonly workerCalls: WorkerCalls;
  readonly down = new Set<number>();
  readonly #memory = createGridMemory({
    gateways: 1,
    workers: 3,
    ringBytes: 1 << 16,
    messageBytesMax: 1 << 16,
    gatewayCounterNames: [],
  });
  readonly #held = new HeldFrames({ bytesMax: 4000, bytesMaxOfAll: 1 << 24, ageMaxMs: 1000 });
  readonly #links: WorkerLinks;
  nowMs = 0;
  retries = 0;
  readonly #inboxes = ringAt(this.#memory.inboxes, 0).map((ring, worker) => new RingConsumer(ring, worker));

  constructor() {
    const writers = ringAt(this.#memory.inboxes, 0).map((ring) => new RingWriter(new RingProducer(ring, () => {})));
    const links = new WorkerLinks(new PartitionTable(this.#memory.table), writers, (worker) => !this.down.has(worker));
    this.#links = links;
    const queue = new DoorCalls(this.#held, () => this.nowMs);
    const onRetry = (): void => {
      this.retries += 1;
    };
    this.workerCalls = new WorkerCalls({ calls: this.calls, links, queue, deadlineMs: () => 1000, onRetry });
  }

  /** Looks again at what waits, as the gateway does when a worker is there again, and ends what has waited too long. */
  retryHeld(): void {
    this.#held.retry(
      (session, { call }) => {
        session.heldFor = call?.run() ?? -1;
        return session.heldFor < 0;
      },
      (session) => session.heldFor < 0 || this.#links.hasRoom(session.heldFor),
    );
    this.#held.expireCalls(this.nowMs);
  }

  /** What each worker was asked: worker, kind, first byte of the body. */
  asked(): number[][] {
    const asked: number[][] = [];
    const onRecord = (ring: RingConsumer, at: number): void => {
      asked.push([ring.index, ring.words[(at >> 2) + ENVELOPE.COUNT] as number, ring.bytes[at + 32] as number]);
    };
    for (const inbox of this.#inboxes) inbox.drain(100, { onRecord });
    return asked;
  }

  /** The worker answers the only call under way; the last one completes it. */
  answer(worker: number, error: number, ...parts: number[]): void {
    const slot = this.calls.sessions.findIndex((session) => session !== undefined);
    const gather = this.calls.gathers[slot];
    for (const part of parts) gather?.answered(worker, error, Uint8Array.of(part));
    this.calls.waiting[slot] = (this.calls.waiting[slot] as number) & ~(1 << worker);
    if (this.calls.waiting[slot] !== 0) return;
    this.calls.release(slot);
    gather?.complete();
  }
}

test('a door asks the workers it names, and gets the parts of each in that order', async () => {
  const under = new CallsUnderTest();
  const asked = under.workerCalls.request(44, [2, 0], (worker) => Uint8Array.of(worker + 10));
  assert.deepEqual(under.asked(), [
    [0, 44, 10],
    [2, 44, 12],
  ]);
  under.answer(0, -1, 1, 2);
  under.answer(2, -1, 3);
  assert.deepEqual(await asked, [[Uint8Array.of(3)], [Uint8Array.of(1), Uint8Array.of(2)]]);
  assert.equal(under.calls.open, 0);
});

test('an error of one worker is the answer, by its code', async () => {
  const under = new CallsUnderTest();
  const asked = under.workerCalls.request(44, [0, 1], () => Uint8Array.of(0));
  under.answer(0, errorNumber('READ_ONLY'), 0);
  under.answer(1, -1, 1);
  await assert.rejects(asked, (error) => error instanceof GridError && error.code === 'READ_ONLY' && error.retryable);
});

test('a worker that is down is not asked, and nobody waits for it', async () => {
  const under = new CallsUnderTest();
  under.down.add(1);
  await assert.rejects(
    under.workerCalls.request(44, under.workerCalls.everyone, () => Uint8Array.of(0)),
    (error) => error instanceof GridError && error.code === 'UNAVAILABLE',
  );
  assert.deepEqual([under.asked(), under.calls.open], [[], 0]);
});

test('a request that waits is held while its worker is replaced, and asked once it is there; in bytes and age as frames are', async () => {
  const under = new CallsUnderTest();
  under.down.add(1);
  const ask = (byte: number, bytes = 1): Promise<Uint8Array[][]> =>
    under.workerCalls.request(44, [1], () => new Uint8Array(bytes).fill(byte), { waits: true });
  const [first, second] = [ask(1), ask(2)];
  await assert.rejects(ask(3, 5000), (error) => error instanceof GridError && error.code === 'OVERLOADED');
  under.retryHeld();
  assert.deepEqual(under.asked(), []);
  under.down.delete(1);
  under.retryHeld();
  assert.deepEqual(under.asked(), [
    [1, 44, 1],
    [1, 44, 2],
  ]);
  under.answer(1, -1, 7);
  under.answer(1, -1, 8);
  assert.deepEqual(await Promise.all([first, second]), [[[Uint8Array.of(7)]], [[Uint8Array.of(8)]]]);
  under.down.add(1);
  const late = ask(4);
  under.nowMs = 1001;
  under.retryHeld();
  await assert.rejects(late, (error) => error instanceof GridError && error.code === 'DEADLINE_EXCEEDED');
  assert.deepEqual([under.asked(), under.calls.open], [[], 0]);
});

test('a request that no worker has seen is made again when its door says so, and not otherwise', async () => {
  const under = new CallsUnderTest();
  under.down.add(1);
  await assert.rejects(
    under.workerCalls.request(44, [1], () => Uint8Array.of(1)),
    /takes no requests/,
  );
  const asked = under.workerCalls.request(44, [1], () => Uint8Array.of(1), { repeats: 'unaccepted' });
  under.down.delete(1);
  while (under.calls.open === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual(under.asked(), [[1, 44, 1]]);
  assert.ok(under.retries >= 1, 'it is counted');
  under.answer(1, errorNumber('OVERLOADED'), 0);
  await assert.rejects(asked, (error) => error instanceof GridError && error.code === 'OVERLOADED');
  assert.equal(under.calls.open, 0);
});

test('a request whose repeat changes nothing is made again though a worker has answered', async () => {
  const under = new CallsUnderTest();
  const asked = under.workerCalls.request(44, [0], () => Uint8Array.of(1), { repeats: 'idempotent' });
  under.answer(0, errorNumber('OVERLOADED'), 0);
  while (under.calls.open === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  under.answer(0, -1, 7);
  assert.deepEqual(await asked, [[Uint8Array.of(7)]]);
});
