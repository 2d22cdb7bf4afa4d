import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { decode, isData } from '../../engine/protocol/codec.ts';
import { type FanOutPlan, type FanOutReport, runFanOut } from './fan-out-load.ts';
import { fanOutWire } from './fan-out-wires.ts';
import { startServer } from '../harness.ts';
import { LatencyHistogram } from '../statistics.ts';
import { Subscriber } from './subscribers.ts';
import { MARKER_BYTES, MarkerReader, markerText } from './marker.ts';

test('markers are found wherever reads cut them', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.stringMatching(/^[a-z]{0,12}~?[a-z]{1,3}$/), fc.nat(99_999_999)), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (parts, sizes) => {
        const bytes = Buffer.from(parts.map(([text, number]) => text + markerText(number)).join(''));
        const reader = new MarkerReader();
        const found: number[] = [];
        for (let at = 0, read = 0; at < bytes.length; read++) {
          const size = sizes[read % sizes.length] as number;
          reader.take(bytes.subarray(at, at + size), (number) => found.push(number));
          at += size;
        }
        assert.deepEqual(
          found,
          parts.map(([, number]) => number),
        );
      },
    ),
  );
});

test('writes are the same from run to run, carry their number, and have rising clocks that are not ahead', async () => {
  const [first, second] = await Promise.all([fanOutWire('event', 'm').writes(50), fanOutWire('event', 'm').writes(50)]);
  assert.deepEqual(first, second);
  let lastMillis = 0;
  for (const [number, frame] of first.entries()) {
    assert.ok(Buffer.from(frame).includes(markerText(number)));
    const message = decode(frame.subarray(8)); // two bytes of header, two of length, four of mask
    assert.ok(isData(message) && isData(message.payload) && Array.isArray(message.payload.ops));
    const [op] = message.payload.ops;
    assert.ok(isData(op) && isData(op.record) && isData(op.record.timestamp));
    const millis = Number(op.record.timestamp.millis);
    assert.ok(millis > lastMillis && millis < Date.now());
    lastMillis = millis;
  }
});

test('a run in which everybody gets everything is valid, and slow subscribers do not spoil its latencies', async () => {
  const report = await runAgainst({});
  assert.equal(report.reason, undefined);
  assert.equal(report.deliveries, 20 * 100);
  assert.ok(report.p50Us > 0 && report.p99Us >= report.p50Us);
});

test('a run in which one subscriber misses one write is void', async () => {
  const report = await runAgainst({ loses: { subscriber: 7, write: 60 } });
  assert.match(String(report.reason), /^void: 1 deliveries missing, 0 twice, at 1 subscribers, 0 of them slow ones$/);
});

test('a run in which a slow subscriber misses one write is void, too', async () => {
  const report = await runAgainst({ loses: { subscriber: 9, write: 60 } });
  assert.match(String(report.reason), /1 of them slow ones$/);
});

test('a write that comes twice in place of another makes the run void', async () => {
  const report = await runAgainst({ repeats: { subscriber: 3, write: 60 } });
  assert.match(String(report.reason), /^void: 1 deliveries missing, 1 twice, at 1 subscribers/);
});

test('a subscriber that the server closes makes the run void, unless it is a slow one', async () => {
  const closed = await runAgainst({ closes: { subscriber: 4, write: 60 } });
  assert.match(String(closed.reason), /^void: 1 subscribers were closed/);
  const slow = await runAgainst({ closes: { subscriber: 9, write: 60 } });
  assert.equal(slow.reason, undefined);
  assert.equal(slow.slowClosed, 1);
});

test('a run in which a subscriber hears nothing has no report', async () => {
  await assert.rejects(runAgainst({ ignores: 7 }), /^Error: 1 of 20 subscribers hear nothing$/);
});

test('what a server delays counts from when each write was due', async () => {
  const report = await runAgainst({ stalls: { write: 60, ms: 400 } });
  assert.equal(report.reason, undefined);
  assert.ok(report.p99Us > 300_000, `${report.p99Us} µs`);
});

test('updates of a live query may be joined, save for the last of each key and the events themselves', async () => {
  assert.deepEqual(await faultsOf([0, 1, 2, 3, 2, 3]), { missing: 0, repeated: 0 });
  assert.deepEqual(await faultsOf([0, 0, 1, 2, 3, 2, 3]), { missing: 0, repeated: 0 });
  assert.deepEqual(await faultsOf([0, 1, 2, 3, 2]), { missing: 1, repeated: 0 });
  assert.deepEqual(await faultsOf([1, 2, 3, 2, 3]), { missing: 1, repeated: 0 });
  assert.deepEqual(await faultsOf([0, 1, 1, 1, 2, 3, 2, 3]), { missing: 0, repeated: 1 });
});

test('an update that was joined into a later one of its key is as late as that one', async () => {
  assert.equal((await subscribed([0, 1, 2, 3, 2, 3])).timed, 4);
  assert.equal((await subscribed([0, 1, 2, 3, 3])).timed, 2);
  assert.equal((await subscribed([0, 0, 1, 2, 3, 2, 3])).timed, 4);
});

test('the raw server gives everybody everything, also in joined frames', async () => {
  const server = await startServer('raw-fan-out');
  try {
    for (const wire of ['raw', 'raw-joined'] as const) {
      const plan = { wire, room: 'r', port: server.port, serverPid: server.pid, subscribers: 20, writesPerSecond: 2000 };
      const report = await runFanOut({ ...plan, warmUpMs: 60, measureMs: 200 });
      assert.equal(report.reason, undefined, wire);
      assert.equal(report.deliveries, 20 * 400);
      assert.ok(report.slowP50Us > 0);
    }
  } finally {
    await server.stop();
  }
});

async function faultsOf(deliveries: readonly number[]): Promise<Subscriber['faults']> {
  return (await subscribed(deliveries)).faults;
}

/** What a subscriber says of these deliveries of four writes to two keys, in two copies each, and of how many it took the time. */
async function subscribed(deliveries: readonly number[]): Promise<{ faults: Subscriber['faults']; timed: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(deliveries.map(markerText).join(' ')));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const schedule = { first: 0, end: 4, dueUs: () => 0 };
    const latencies = new LatencyHistogram();
    const slowLatencies = new LatencyHistogram();
    const steps = [{ send: 'go', expect: '' }];
    const heard = { copies: 2, joinedKeys: 2, schedule, latencies, slowLatencies };
    const subscriber = await Subscriber.open({ port, steps, writes: 4, ...heard }, false);
    while (subscriber.ended === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
    return { faults: subscriber.faults, timed: latencies.total };
  } finally {
    server.close();
  }
}

interface Place {
  readonly subscriber: number;
  readonly write: number;
}

interface Faults {
  readonly loses?: Place;
  /** The write is sent in place of the one after it. */
  readonly repeats?: Place;
  readonly closes?: Place;
  readonly stalls?: { readonly write: number; readonly ms: number };
  /** The subscriber gets nothing at all. */
  readonly ignores?: number;
}

/** A run of 100 measured writes to 20 subscribers over the wire of Redis, which is the simplest to play. The warm-up takes about four writes, so write 60 is a measured one. */
async function runAgainst(faults: Faults): Promise<FanOutReport> {
  const server = new FaultyPubSub(faults);
  const plan: FanOutPlan = {
    wire: 'redis',
    room: 'r',
    port: await server.listen(),
    serverPid: process.pid,
    subscribers: 20,
    writesPerSecond: 500,
    warmUpMs: 60,
    measureMs: 200,
    drainDeadlineMs: 700,
    ...(faults.ignores === undefined ? {} : { warmUpDeadlineMs: 400 }),
  };
  try {
    return await runFanOut(plan);
  } finally {
    server.close();
  }
}

/** Just enough of Redis pub/sub, with one fault. Subscribers are numbered in the order in which they subscribed. */
class FaultyPubSub {
  readonly #faults: Faults;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #subscribers: Socket[] = [];
  #stall: Promise<void> = Promise.resolve();

  constructor(faults: Faults) {
    this.#faults = faults;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      const markers = new MarkerReader();
      socket.on('data', (chunk) => {
        const text = chunk.toString('latin1');
        if (text.includes('SUBSCRIBE')) {
          this.#subscribers.push(socket);
          socket.write('*3\r\n$9\r\nsubscribe\r\n$1\r\nr\r\n:1\r\n');
        } else if (text.includes('PING')) socket.write('+PONG\r\n');
        else markers.take(chunk, (number) => this.#published(number));
      });
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #published(write: number): void {
    const { stalls } = this.#faults;
    if (stalls?.write === write) this.#stall = new Promise((resolve) => setTimeout(resolve, stalls.ms));
    void this.#stall.then(() => this.#send(write));
  }

  #send(write: number): void {
    const { loses, repeats, closes, ignores } = this.#faults;
    this.#subscribers.forEach((socket, subscriber) => {
      const is = (place: Place | undefined, at = write): boolean => place?.subscriber === subscriber && place.write === at;
      if (is(closes)) socket.destroy();
      if (is(loses) || subscriber === ignores) return;
      socket.write(`message ${markerText(is(repeats, write - 1) ? write - 1 : write)}\r\n`);
    });
  }
}

test('a marker has as many bytes as its reader takes it for', () => {
  assert.equal(markerText(12).length, MARKER_BYTES);
});
