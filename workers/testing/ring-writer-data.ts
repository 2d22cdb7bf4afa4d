/** What the test threads and their tests agree on: the bytes of message n, and what a writer is told. */
import type { MessagePort } from 'node:worker_threads';

/** The byte that stands at `offset` of message `sequence`. */
export function byteAt(sequence: number, offset: number): number {
  return (sequence * 31 + offset * 7) & 255;
}

export interface RingWriterData {
  readonly memory: SharedArrayBuffer;
  readonly bell: MessagePort;
  readonly messages: number;
  readonly payloadBytesMax: number;
  /** Every so many messages one goes in parts; 0: never. */
  readonly chunkEvery: number;
  readonly chunkedBytesMax: number;
  /** One message in so many is followed by a pause, most of them very short; 0: never. */
  readonly stallEvery: number;
  readonly seed: number;
}
