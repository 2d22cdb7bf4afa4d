/** Rings between real threads: small ones, so that padding, full answers, wraps and sleeps come thousands of times. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { createDoorbellPorts, Doorbell } from './doorbell.ts';
import { RingConsumer } from './ring.ts';
import { createRing, readRingStats } from './ring-layout.ts';
import { RunLoop } from './run-loop.ts';
import type { Runnable } from './runnable.ts';
import { execArgvFor, moduleBeside } from './threads.ts';
import { byteAt, type RingWriterData } from './testing/ring-writer-data.ts';

const SEED = Number(process.env.LATTICE_TEST_SEED ?? 0x5eed);

/** Without ticks and watchdog a lost wake-up is not repaired: the test would hang until its timeout, and fail. */
const NEVER_MS = 600_000;
const LIMIT = { timeout: 60_000 };

/** Checks every message of every ring for number, length and bytes. */
class Checker implements Runnable {
  readonly tickIntervalMs = NEVER_MS;
  readonly next: number[];
  readonly #expected: number;
  #remaining: number;
  #loop: RunLoop | undefined;

  constructor(rings: number, messages: number) {
    this.next = new Array<number>(rings).fill(0);
    this.#expected = messages;
    this.#remaining = rings * messages;
  }

  stopWhenComplete(loop: RunLoop): void {
    this.#loop = loop;
  }

  onRecord(ring: RingConsumer, at: number, bytes: number): void {
    const sequence = ring.words[at >> 2] as number;
    assert.equal(sequence, this.next[ring.index], `ring ${ring.index}, seed ${SEED}`);
    assert.equal(ring.words[(at >> 2) + 1], bytes);
    for (let offset = 8; offset < bytes; offset += 1) {
      if (ring.bytes[at + offset] !== byteAt(sequence, offset))
        assert.fail(`torn: message ${sequence}, byte ${offset}, seed ${SEED}`);
    }
    this.next[ring.index] = sequence + 1;
    this.#remaining -= 1;
    if (this.#remaining === 0) this.#loop?.stop();
  }

  onBatchEnd(): void {}
  onTick(): void {}
  async shutdown(): Promise<void> {
    assert.deepEqual(this.next, new Array<number>(this.next.length).fill(this.#expected));
  }
}

type Hammer = Partial<Omit<RingWriterData, 'memory' | 'bell'>> & {
  rings: number;
  messages: number;
  position?: number;
  batchRecords?: number;
  emptyPolls?: number;
};

async function hammer(options: Hammer): Promise<SharedArrayBuffer[]> {
  const { rings, messages, position = 0, batchRecords = 100, emptyPolls = 0 } = options;
  const memories = Array.from({ length: rings }, () => createRing({ capacityBytes: 4096, messageBytesMax: 65_536, position }));
  const runnable = new Checker(rings, messages);
  const consumers = memories.map((memory, index) => new RingConsumer(memory, index));
  const loop = new RunLoop(runnable, consumers, { batchRecords, emptyPolls, watchdogMs: NEVER_MS });
  runnable.stopWhenComplete(loop);
  const bells: Doorbell[] = [];
  const workers = memories.map((memory, index) => {
    const { a, b } = createDoorbellPorts();
    const bell = new Doorbell(a);
    bell.listen(loop.wake);
    bells.push(bell);
    const data: RingWriterData = {
      memory,
      bell: b,
      messages,
      payloadBytesMax: options.payloadBytesMax ?? 300,
      chunkEvery: options.chunkEvery ?? 0,
      chunkedBytesMax: options.chunkedBytesMax ?? 1,
      stallEvery: options.stallEvery ?? 0,
      seed: SEED + index,
    };
    const module = moduleBeside('./testing/ring-writer', import.meta.url);
    const worker = new Worker(module, { workerData: data, transferList: [b], ...execArgvFor(module) });
    worker.on('error', (error) => assert.fail(error));
    return worker;
  });
  const exits = workers.map((worker) => once(worker, 'exit'));
  await loop.run();
  await Promise.all(exits);
  for (const bell of bells) bell.close();
  return memories;
}

test('messages cross from thread to thread whole, once and in order', LIMIT, async () => {
  const [memory] = await hammer({ rings: 1, messages: 150_000 });
  const stats = readRingStats(memory as SharedArrayBuffer);
  assert.deepEqual([stats.recordsWritten, stats.recordsRead, stats.usedBytes], [150_000, 150_000, 0]);
  assert.ok(stats.fullAnswers > 0, 'the ring was full now and then');
});

test('messages cross while positions wrap 2^31 and 2^32', LIMIT, async () => {
  await hammer({ rings: 1, messages: 5_000, position: 2 ** 31 - 65_536 });
  await hammer({ rings: 1, messages: 5_000, position: 2 ** 32 - 65_536 });
});

test('the edge between sleeping and waking loses no message', LIMIT, async () => {
  // Short records and a pause behind every third one: the consumer falls asleep thousands of times, at any moment.
  const [memory] = await hammer({ rings: 1, messages: 30_000, payloadBytesMax: 16, stallEvery: 3 });
  const stats = readRingStats(memory as SharedArrayBuffer);
  assert.ok(stats.bellsRung > 1_000, `${stats.bellsRung} bells`);
});

test('large messages cross in parts, in order with the others', LIMIT, async () => {
  await hammer({ rings: 1, messages: 3_000, chunkEvery: 5, chunkedBytesMax: 20_000 });
});

test('several rings share one consumer', LIMIT, async () => {
  await hammer({ rings: 3, messages: 15_000, stallEvery: 50, chunkEvery: 500, chunkedBytesMax: 10_000, batchRecords: 32 });
});
