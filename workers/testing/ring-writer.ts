/**
 * A thread that writes numbered records of varying length into a ring, with random stalls; every `chunkEvery`th message
 * goes in parts. Payload: [sequence i32][length i32][bytes that depend on both].
 */
import { workerData } from 'node:worker_threads';
import { ChunkedWrite } from '../chunks.ts';
import { Doorbell } from '../doorbell.ts';
import { FULL, RingProducer } from '../ring.ts';
import { byteAt, type RingWriterData } from './ring-writer-data.ts';

/** Next number of a small linear congruential generator. */
function nextRandom(state: number): number {
  return (Math.imul(state, 1664525) + 1013904223) >>> 0;
}

const data = workerData as RingWriterData;
const bell = new Doorbell(data.bell);
const ring = new RingProducer(data.memory, bell.ring);
const chunks = new ChunkedWrite(ring);
let random = data.seed >>> 0;
let sequence = 0;

function nextTurn(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    if (delayMs === 0) setImmediate(resolve);
    else setTimeout(resolve, delayMs);
  });
}

function fill(bytes: Uint8Array, at: number, length: number): void {
  new DataView(bytes.buffer, bytes.byteOffset + at).setInt32(0, sequence, true);
  new DataView(bytes.buffer, bytes.byteOffset + at).setInt32(4, length, true);
  for (let offset = 8; offset < length; offset += 1) bytes[at + offset] = byteAt(sequence, offset);
}

async function writeChunked(): Promise<void> {
  const message = new Uint8Array(8 + (random % data.chunkedBytesMax));
  fill(message, 0, message.byteLength);
  let done = chunks.start(message);
  while (!done) {
    await nextTurn(0);
    done = chunks.resume();
  }
}

async function writeRecord(): Promise<void> {
  const length = 8 + (random % data.payloadBytesMax);
  let at = ring.claim(length + 8);
  while (at === FULL) {
    await nextTurn(0);
    at = ring.claim(length + 8);
  }
  fill(ring.bytes, at, length);
  ring.commit(length); // 8 bytes less than was claimed
}

while (sequence < data.messages) {
  random = nextRandom(random);
  if (data.chunkEvery > 0 && sequence % data.chunkEvery === 0) await writeChunked();
  else await writeRecord();
  sequence += 1;
  if (data.stallEvery > 0 && random % data.stallEvery === 0) await nextTurn((random >>> 8) % 16 === 0 ? 1 : 0);
}
bell.close();
