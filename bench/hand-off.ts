/**
 * Round trips between two threads: by a pair of rings, and by one postMessage per message. 1024 are kept in flight.
 */
import { Worker } from 'node:worker_threads';
import { createDoorbellPorts, Doorbell } from '../workers/doorbell.ts';
import { createRing } from '../workers/ring-layout.ts';
import { FULL, RingConsumer, type RingHandler, RingProducer } from '../workers/ring.ts';
import { copyRecord, type EchoSetup, RingLoop } from './ring-echo.ts';

const IN_FLIGHT_MAX = 1024;
/** A thread may be slow to start on a busy machine. */
const STILL_MS_MAX = 30_000;
const RING_BYTES = 4 * 1024 * 1024;
const ECHO = new URL(`./ring-echo${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

/** Round trips per second by ring, over `measureMs` after `warmUpMs`. */
export async function ringRoundTrips(messageBytes: number, warmUpMs: number, measureMs: number): Promise<number> {
  const there = createRing({ capacityBytes: RING_BYTES });
  const back = createRing({ capacityBytes: RING_BYTES });
  const ports = createDoorbellPorts();
  const setup: EchoSetup = { by: 'ring', there, back, bell: ports.b };
  const worker = new Worker(ECHO, { workerData: setup, transferList: [ports.b] });
  const bell = new Doorbell(ports.a);
  const outbox = new RingProducer(there, bell.ring);
  const message = new Uint8Array(messageBytes).fill(7);
  const source = { bytes: message, words: new Int32Array(message.buffer) };
  const send = (): boolean => {
    const at = outbox.claim(messageBytes);
    if (at === FULL) return false;
    copyRecord(source, 0, outbox, at, messageBytes);
    outbox.commit();
    return true;
  };
  let sent = 0;
  let returned = 0;
  const handler: RingHandler = {
    onRecord() {
      returned += 1;
    },
  };
  const loop = new RingLoop(new RingConsumer(back), bell, handler, () => {
    while (sent - returned < IN_FLIGHT_MAX && send()) sent += 1;
  });
  loop.turn();
  try {
    return await rateOf(() => returned, warmUpMs, measureMs);
  } finally {
    loop.stop();
    await worker.terminate();
    bell.close();
  }
}

/** Round trips per second by postMessage, each message a structured clone. */
export async function messageRoundTrips(messageBytes: number, warmUpMs: number, measureMs: number): Promise<number> {
  const setup: EchoSetup = { by: 'postMessage' };
  const worker = new Worker(ECHO, { workerData: setup });
  const message = new Uint8Array(messageBytes).fill(7);
  let returned = 0;
  worker.on('message', () => {
    returned += 1;
    worker.postMessage(message);
  });
  for (let sent = 0; sent < IN_FLIGHT_MAX; sent++) worker.postMessage(message);
  try {
    return await rateOf(() => returned, warmUpMs, measureMs);
  } finally {
    await worker.terminate();
  }
}

/** Rise of a counter per second, from when the other thread has begun to answer; throws when it stands still. */
async function rateOf(count: () => number, warmUpMs: number, measureMs: number): Promise<number> {
  await risen(count, 0);
  await sleep(warmUpMs);
  const startMs = performance.now();
  const before = count();
  await sleep(measureMs);
  await risen(count, before);
  return ((count() - before) * 1000) / (performance.now() - startMs);
}

async function risen(count: () => number, above: number): Promise<void> {
  const givenUpMs = performance.now() + STILL_MS_MAX;
  while (count() <= above) {
    if (performance.now() > givenUpMs) throw new Error('nothing came back from the other thread');
    await sleep(1);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
