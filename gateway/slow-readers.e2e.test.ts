/**
 * A thousand sessions, of which some stop reading: their memory is bounded, they are closed with a reason and equal again when they
 * are back, and nobody else misses anything.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { encodeFrame } from './testing/client-codec.ts';
import { RawWebSocket } from './testing/raw-websocket.ts';
import { eventually, metricOf, startGrid } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { uniqueName } from './testing/wire-ops.ts';

const HEALTHY = 940;
const SLOW = 40;
const STEADY = 20;
const OPENED_AT_ONCE = 100;
const UNREAD_BYTES_MAX = 128 * 1024;
const VALUE_BYTES = 64 * 1024;
const KEYS = 20;
/** What the kernel may keep for one connection, both ends, is far below. */
const ROUNDS_MAX = 600;

/** A reader that counts what it is told about a map, without a look at it. */
class Counting {
  readonly socket: RawWebSocket;
  events = 0;
  /** When the last event came. */
  heardMs = 0;

  private constructor(socket: RawWebSocket, mapName: string) {
    this.socket = socket;
    socket.onMessage = (frame) => {
      if (!Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).includes('SERVER_')) return;
      this.events += 1;
      this.heardMs = performance.now();
    };
    socket.send(encodeFrame({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 }));
  }

  static async open(port: number, mapName: string): Promise<Counting> {
    return new Counting(await RawWebSocket.open({ port, path: '/ws?events=interest' }), mapName);
  }
}

test('slow readers among a thousand sessions are bounded, closed and equal again, and the others get everything', async (t) => {
  const { grid, port, fatal } = await startGrid({
    gatewayThreads: 2,
    workerThreads: 2,
    sessionBackpressureBytesMax: UNREAD_BYTES_MAX,
    rateOpsPerSecond: 0,
  });
  t.after(() => grid.stop());
  const [news, photos] = [uniqueName('news'), uniqueName('photos')];
  const client = (nodeId: string): TopGunClient => new TopGunClient({ port, nodeId, path: '/ws?events=interest' });
  const writer = client('writer');
  const slow = Array.from({ length: SLOW }, (_, index) => client(`slow${index}`));
  const steady = Array.from({ length: STEADY }, (_, index) => client(`steady${index}`));
  t.after(() => {
    for (const one of [writer, ...slow, ...steady]) one.close();
  });
  for (const reader of [...slow, ...steady]) reader.lww(photos);
  await Promise.all([writer, ...slow, ...steady].map((one) => one.connected()));
  const healthy: Counting[] = [];
  while (healthy.length < HEALTHY)
    healthy.push(
      ...(await Promise.all(Array.from({ length: OPENED_AT_ONCE }, () => Counting.open(port, news)))).slice(0, HEALTHY),
    );
  t.after(() => {
    for (const { socket } of healthy) socket.terminate();
  });
  await eventually(async () => assert.equal(await metricOf(port, 'lattice_connections'), healthy.length + SLOW + STEADY + 1));

  let told = 0;
  /** One event to each healthy session; how long each waited for it, ms. */
  const tellNews = async (): Promise<number[]> => {
    const sinceMs = performance.now();
    told += 1;
    writer.set(news, 'latest', told);
    await eventually(() => assert.ok(healthy.every(({ events }) => events === told)));
    return healthy.map(({ heardMs }) => heardMs - sinceMs);
  };
  let rounds = 0;
  /** A few large values, to the readers of photos. */
  const showPhotos = async (): Promise<void> => {
    rounds += 1;
    for (let index = 0; index < 5; index++) writer.set(photos, `k${(rounds * 5 + index) % KEYS}`, 'z'.repeat(VALUE_BYTES));
    await writer.settled();
  };
  const readMs: number[] = [];
  const unreadMs: number[] = [];
  for (let round = 0; round < 20; round++) {
    await showPhotos();
    readMs.push(...(await tellNews()));
  }

  for (const reader of slow) reader.socket?.pause();
  let heldBytesMax = 0;
  while ((await metricOf(port, 'lattice_slow_consumers_closed_total')) < SLOW) {
    assert.ok(rounds < ROUNDS_MAX, 'the server buffers without a bound');
    await showPhotos();
    if (rounds % 2 === 0) unreadMs.push(...(await tellNews()));
    heldBytesMax = Math.max(heldBytesMax, await metricOf(port, 'lattice_session_bytes'));
  }
  // What passed the bound may be one frame more, which is of a batch of five.
  assert.ok(heldBytesMax < SLOW * (UNREAD_BYTES_MAX + 8 * VALUE_BYTES) + 4 * 1024 * 1024, `${heldBytesMax} bytes for sessions`);
  const [all, some] = [quantiles(readMs), quantiles(unreadMs)];
  t.diagnostic(`news to ${HEALTHY} sessions, ms: median ${text(all.median)}, p99 ${text(all.p99)} while all read`);
  t.diagnostic(`median ${text(some.median)}, p99 ${text(some.p99)} while ${SLOW} do not; p99 × ${text(some.p99 / all.p99)}`);
  t.diagnostic(`at most ${heldBytesMax} bytes for sessions, ${Math.round(heldBytesMax / SLOW)} for each that does not read`);

  const stuck = slow.map((reader) => reader.socket);
  for (const socket of stuck) socket?.resume();
  await eventually(() => assert.ok(slow.every((reader) => reader.closes.length > 0)));
  for (const { closes } of slow)
    assert.deepEqual(closes[0], { code: 1013, reason: 'too much unread data, reconnect to catch up' });
  await eventually(() =>
    assert.ok(slow.every((reader) => reader.state === 'ready' && reader.root(photos) === writer.root(photos))),
  );
  await tellNews();
  for (const reader of steady) {
    await eventually(() => assert.equal(reader.root(photos), writer.root(photos)));
    assert.equal(reader.closes.length, 0);
  }
  assert.ok(
    healthy.every(({ socket, events }) => socket.isOpen && events === told),
    'nobody else missed anything',
  );
  assert.deepEqual(fatal, []);
});

function quantiles(times: readonly number[]): { median: number; p99: number } {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
  return { median: at(0.5), p99: at(0.99) };
}

function text(number: number): string {
  return number.toFixed(2);
}
