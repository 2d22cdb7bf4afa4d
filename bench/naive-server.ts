/**
 * What one writes first: decode every frame with msgpackr, keep records in a Map, encode every ack. Two variants.
 *
 *   naive   one thread:   frame → unpack → Map<string, record> → pack(ack)
 *   pm      two threads:  frame → unpack → (per event-loop turn) postMessage(ops) → Map → postMessage(done) → pack(ack)
 *
 * Both merge by hybrid logical clock, as the product does, and neither tells other clients, persists or checks
 * anything. They are the yardstick for what the scanner, the rings and the record table are worth.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Packr, unpack } from 'msgpackr';
import { App, us_socket_local_port, type WebSocket } from 'uWebSockets.js';

const MESSAGE_BYTES_MAX = 2 * 1024 * 1024;
const BACKPRESSURE_BYTES_MAX = 16 * 1024 * 1024;

interface Clock {
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
}

interface Op {
  readonly id: string;
  readonly mapName: string;
  readonly key: string;
  readonly record: { readonly value: unknown; readonly timestamp: Clock };
}

interface OpBatch {
  readonly payload: { readonly ops: readonly Op[] };
}

/** Writes of one event-loop turn on their way to the worker, each frame under its number. */
type Handed = readonly { readonly frame: number; readonly ops: readonly Op[] }[];

const packr = new Packr({ useRecords: false });

function isNewer(left: Clock, right: Clock): boolean {
  if (left.millis !== right.millis) return left.millis > right.millis;
  if (left.counter !== right.counter) return left.counter > right.counter;
  return left.nodeId > right.nodeId;
}

class NaiveStore {
  readonly #maps = new Map<string, Map<string, Op['record']>>();

  merge(op: Op): void {
    let records = this.#maps.get(op.mapName);
    if (records === undefined) {
      records = new Map();
      this.#maps.set(op.mapName, records);
    }
    const stored = records.get(op.key);
    if (stored === undefined || isNewer(op.record.timestamp, stored.timestamp)) records.set(op.key, op.record);
  }
}

function encodeAck(lastId: string): Uint8Array {
  return packr.pack({ type: 'OP_ACK', payload: { lastId, achievedLevel: 'MEMORY' } });
}

function opsOf(message: ArrayBuffer): readonly Op[] {
  const batch: OpBatch = unpack(new Uint8Array(message));
  return batch.payload.ops;
}

function lastIdOf(ops: readonly Op[]): string {
  return ops[ops.length - 1]?.id ?? '0';
}

function listen(onMessage: (socket: WebSocket<unknown>, message: ArrayBuffer) => void): void {
  const app = App();
  app.ws('/*', {
    maxPayloadLength: MESSAGE_BYTES_MAX,
    maxBackpressure: BACKPRESSURE_BYTES_MAX,
    idleTimeout: 120,
    message: onMessage,
  });
  app.listen('127.0.0.1', 0, (listening) => {
    if (listening === false) throw new Error('the naive server found no port');
    process.stdout.write(`PORT=${us_socket_local_port(listening)}\n`);
  });
}

function serveInOneThread(): void {
  const store = new NaiveStore();
  listen((socket, message) => {
    const ops = opsOf(message);
    for (const op of ops) store.merge(op);
    socket.send(encodeAck(lastIdOf(ops)), true);
  });
}

function serveByPostMessage(): void {
  const worker = new Worker(new URL(import.meta.url), { workerData: 'worker' });
  const waiting = new Map<number, { readonly socket: WebSocket<unknown>; readonly lastId: string }>();
  let handed: { frame: number; ops: readonly Op[] }[] = [];
  let frames = 0;
  worker.on('message', (done: readonly number[]) => {
    for (const frame of done) {
      const waiter = waiting.get(frame);
      waiting.delete(frame);
      waiter?.socket.cork(() => waiter.socket.send(encodeAck(waiter.lastId), true));
    }
  });
  listen((socket, message) => {
    const ops = opsOf(message);
    if (handed.length === 0) {
      setImmediate(() => {
        worker.postMessage(handed);
        handed = [];
      });
    }
    frames += 1;
    waiting.set(frames, { socket, lastId: lastIdOf(ops) });
    handed.push({ frame: frames, ops });
  });
}

function runWorker(): void {
  const store = new NaiveStore();
  parentPort?.on('message', (handed: Handed) => {
    for (const { ops } of handed) for (const op of ops) store.merge(op);
    parentPort?.postMessage(handed.map(({ frame }) => frame));
  });
}

if (!isMainThread && workerData === 'worker') runWorker();
else if (process.argv[2] === 'pm') serveByPostMessage();
else serveInOneThread();
process.once('SIGTERM', () => process.exit(0));
