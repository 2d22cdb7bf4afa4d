/**
 * A server for tests of runs: acknowledges every op that it is sent, and may lose some on the way to its store.
 *
 * It has no maps that could be asked for. Its metrics say how many ops it has applied, that nothing waits for a flush, and what
 * it did with a log.
 */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { decode, encode } from '@msgpack/msgpack';
import { APPLIED_METRIC } from './applied-ops.ts';

interface Clock {
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
}

export interface Op {
  readonly id: string;
  readonly mapName: string;
  readonly opType: string;
  readonly key: string;
  readonly record: { readonly value: Record<string, unknown>; readonly timestamp: Clock };
  readonly timestamp: Clock;
  readonly synced: boolean;
}

export interface Batch {
  readonly type: string;
  readonly payload: { readonly ops: Op[] };
}

/** Loses one op in `loseOneIn` (0: none). */
export class LosingServer {
  connections = 0;
  /** Acknowledges nothing at all. */
  silent = false;
  /** Batches that share a sync of the log, in which each is a frame; 0: the log is never synced. */
  batchesPerSync = 10;
  /** What was wrong with the frames that came. */
  readonly complaints: string[] = [];
  readonly #loseOneIn: number;
  readonly #newest = new Map<string, number>();
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  #batches = 0;
  #ops = 0;
  #applied = 0;

  constructor(loseOneIn: number) {
    this.#loseOneIn = loseOneIn;
    this.#server = createServer((_, response) => {
      response.end(this.#metrics());
    });
    this.#server.on('upgrade', (request, socket: Duplex) => {
      assert.equal(request.url, '/ws?events=interest');
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('error', () => this.#sockets.delete(socket));
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
      this.#serve(socket);
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #metrics(): string {
    const syncs = this.batchesPerSync === 0 ? 0 : Math.floor(this.#batches / this.batchesPerSync);
    const lines = [
      `${APPLIED_METRIC.name}{result="applied"} ${this.#applied}`,
      'lattice_staged_records 0',
      'lattice_flushed_rows_total 0',
      'lattice_log_segments 1',
      `lattice_log_sequence ${this.#batches}`,
      `lattice_log_syncs_total ${syncs}`,
    ];
    return `${lines.join('\n')}\n`;
  }

  #serve(socket: Duplex): void {
    const reader = new FrameReader();
    let lastId = 0;
    socket.on('data', (chunk: Buffer) => {
      for (const payload of reader.take(chunk)) {
        const { ops } = (decode(payload) as Batch).payload;
        this.#batches += 1;
        for (const op of ops) {
          if (!(Number(op.id) > lastId)) this.complaints.push(`id ${op.id} after ${lastId}`);
          lastId = Number(op.id);
          this.#merge(op);
        }
        if (!this.silent) socket.write(ackFrame(String(lastId)));
      }
    });
  }

  #merge(op: Op): void {
    const { millis } = op.record.timestamp;
    if (!(millis > (this.#newest.get(op.key) ?? 0))) this.complaints.push(`${op.key} is not newer`);
    if (millis > Date.now()) this.complaints.push(`${op.key} is from the future`);
    this.#newest.set(op.key, millis);
    this.#ops += 1;
    if (this.#loseOneIn === 0 || this.#ops % this.#loseOneIn !== 0) this.#applied += 1;
  }
}

/** Runs `body` with a server that listens, and closes it. */
export async function withLosingServer<T>(
  loseOneIn: number,
  body: (server: LosingServer, port: number) => Promise<T>,
): Promise<T> {
  const server = new LosingServer(loseOneIn);
  try {
    return await body(server, await server.listen());
  } finally {
    server.close();
  }
}

/** An acknowledgement as the product sends it. */
export function ackFrame(lastId: string): Uint8Array {
  const payload = encode({ type: 'OP_ACK', payload: { lastId, achievedLevel: 'MEMORY' } });
  return Uint8Array.of(0x82, payload.length, ...payload);
}

/** Takes masked client frames apart, by RFC 6455 §5.2 and not by what the generator is known to send. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  take(chunk: Uint8Array): Uint8Array[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const payloads: Uint8Array[] = [];
    for (let payload = this.#next(); payload !== undefined; payload = this.#next()) payloads.push(payload);
    return payloads;
  }

  #next(): Uint8Array | undefined {
    const bytes = this.#rest;
    if (bytes.length < 14) return undefined;
    assert.equal(bytes[0], 0x82, 'one whole binary frame');
    assert.ok((bytes.readUInt8(1) & 0x80) !== 0, 'masked');
    const short = bytes.readUInt8(1) & 0x7f;
    const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0;
    const length = short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
    const start = 2 + lengthBytes + 4;
    if (bytes.length < start + length) return undefined;
    const mask = bytes.subarray(start - 4, start);
    const payload = bytes.subarray(start, start + length).map((byte, index) => byte ^ mask.readUInt8(index % 4));
    this.#rest = bytes.subarray(start + length);
    return payload;
  }
}
