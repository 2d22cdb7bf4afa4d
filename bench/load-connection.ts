/**
 * One WebSocket connection of a load generator, over plain TCP: no library between the frames and the socket.
 *
 *   frames sent ─────────────▶ │ acked │ in flight (≤ window) │ not sent │
 *                                 ▲ an OP_ACK's lastId moves this line on
 *
 * Frames go out of the slice's own memory, several to a write. A frame is stamped again only a full round later, by
 * when it was acknowledged, and therefore has left the memory: the slice holds at least a window of frames.
 * Of a server's frames only the length is read, and of an OP_ACK the digits of `lastId`.
 */
import { connect, type Socket } from 'node:net';
import { assert } from '../engine/assert.ts';
import type { LatencyHistogram } from './statistics.ts';

/**
 * How acks are counted: by the id they name, one ack a frame (a server that sends a fixed answer), or a line for each op (Redis, which
 * is spoken to without an upgrade).
 */
export type AckRule = 'lastId' | 'counted' | 'lines';

/** Frames that are sent round and round; write-frames.ts has those of the product. */
export interface Frames {
  readonly bytes: Uint8Array;
  readonly frameBytes: number;
  readonly frames: number;
  readonly opsPerFrame: number;
  stamp(frame: number, round: number, millis: number): void;
  framesHandled(lastId: number): number;
}

/** When frames are due: an open loop, whose latencies run from then. */
export interface Pace {
  readonly framesPerSecond: number;
  /** Of the first frame, in µs of `performance.now`. */
  readonly firstDueUs: number;
}

export interface ConnectionOptions {
  readonly port: number;
  /** Path and query of the upgrade. */
  readonly path: string;
  readonly slice: Frames | undefined;
  /** Frames in flight at most; 1 waits for each ack. */
  readonly window: number;
  readonly ackRule: AckRule;
  /** Milliseconds that the first round's stamps say. */
  readonly firstMillis: number;
  readonly latencies: LatencyHistogram;
}

const RECEIVE_BYTES = 64 * 1024;
/** All connections of the process read into it: what is to be kept is copied. */
const received = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
const LAST_ID = Buffer.from('lastId');
const OPCODE_BINARY = 2;
const OPCODE_CLOSE = 8;
const OPCODE_PING = 9;
const LINE_END = 0x0a;
const MINUS = 0x2d;

export class LoadConnection {
  /** Frames acknowledged so far. */
  acked = 0;
  sent = 0;
  /** Frames from the server that were no OP_ACK (errors, greetings). */
  otherFrames = 0;
  /** Text of the first of them, for a message. */
  otherText = '';
  readonly #options: ConnectionOptions;
  readonly #sentAtUs: Float64Array;
  readonly #onFailure: (reason: Error) => void;
  readonly #socket: Socket;
  #sending = false;
  #opened = false;
  #closing = false;
  #onOpen: () => void = () => {};
  /** Bytes of an unfinished server frame, or of an unfinished upgrade answer. */
  #rest: Buffer = Buffer.alloc(0);
  /** Where lastId's digits stood in the last ack: the next one looks there first. */
  #digitsAt = 0;
  #lines = 0;
  #pace: Pace | undefined;

  constructor(options: ConnectionOptions, onFailure: (reason: Error) => void) {
    if (options.slice !== undefined) assert(options.window <= options.slice.frames, 'a window needs as many frames');
    this.#options = options;
    this.#onFailure = onFailure;
    this.#sentAtUs = new Float64Array(options.window);
    this.#socket = connect({
      port: options.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: received,
        callback: (bytes: number) => {
          this.#onBytes(received.subarray(0, bytes));
          return true;
        },
      },
    });
    this.#socket.on('error', (cause) => this.#fail(cause));
    this.#socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  /** Opened, and neither ended nor closed since. */
  get isOpen(): boolean {
    return this.#opened && !this.#closing;
  }

  /** Resolves when the upgrade was answered, or where there is none, when it is connected. */
  open(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#options.ackRule === 'lines') {
        this.#opened = true;
        this.#socket.once('connect', () => resolve());
        return;
      }
      this.#onOpen = resolve;
      this.#socket.write(
        `GET ${this.#options.path} HTTP/1.1\r\nHost: 127.0.0.1:${this.#options.port}\r\nUpgrade: websocket\r\n` +
          'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bGF0dGljZS1iZW5jaC0wMQ==\r\n\r\n',
      );
    });
  }

  /** Fills the window and keeps it full; with a pace, by what is due when it is pumped or an ack comes. */
  start(pace?: Pace): void {
    this.#pace = pace;
    this.#sending = true;
    this.#fillWindow();
  }

  /** Sends what has become due. */
  pump(): void {
    if (this.#sending && this.#opened) this.#fillWindow();
  }

  /** Sends nothing new; acks of what is in flight are still taken. */
  stopSending(): void {
    this.#sending = false;
  }

  close(): void {
    this.#closing = true;
    this.#socket.destroy();
  }

  #fail(cause: Error): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#onFailure(this.otherText === '' ? cause : new Error(`${cause.message}; it had said: ${this.otherText.slice(0, 300)}`));
  }

  #fillWindow(): void {
    const { slice, window, firstMillis } = this.#options;
    const pace = this.#pace;
    if (slice === undefined) return;
    const nowUs = performance.now() * 1000;
    const target = Math.min(this.acked + window, pace === undefined ? Number.POSITIVE_INFINITY : dueBy(pace, nowUs));
    while (this.sent < target) {
      const round = Math.floor(this.sent / slice.frames);
      const first = this.sent - round * slice.frames;
      const end = Math.min(slice.frames, first + target - this.sent);
      for (let frame = first; frame < end; frame++) {
        slice.stamp(frame, round, firstMillis + round);
        this.#sentAtUs[this.sent % window] = pace === undefined ? nowUs : dueUs(pace, this.sent);
        this.sent += 1;
      }
      this.#socket.write(slice.bytes.subarray(first * slice.frameBytes, end * slice.frameBytes));
    }
  }

  #onBytes(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#rest.length > 0) bytes = Buffer.concat([this.#rest, chunk]);
    const used = this.#opened ? this.#readAnswers(bytes) : this.#readUpgrade(bytes);
    this.#rest = used === bytes.length ? this.#rest.subarray(0, 0) : Buffer.from(bytes.subarray(used));
    if (this.#sending) this.#fillWindow();
  }

  /** Reads the answer to the upgrade and what follows it; returns the bytes used. */
  #readUpgrade(bytes: Buffer): number {
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) return 0;
    const status = bytes.subarray(0, bytes.indexOf('\r\n')).toString('latin1');
    if (!status.startsWith('HTTP/1.1 101')) {
      this.#fail(new Error(`the upgrade was answered with ${status}`));
      return bytes.length;
    }
    this.#opened = true;
    this.#onOpen();
    return this.#readFrames(bytes, end + 4);
  }

  #readAnswers(bytes: Buffer): number {
    return this.#options.ackRule === 'lines' ? this.#readLines(bytes) : this.#readFrames(bytes, 0);
  }

  /** Counts the replies of Redis: each is one line, and none may be an error. */
  #readLines(bytes: Buffer): number {
    const ackedBefore = this.acked;
    const opsPerFrame = this.#options.slice?.opsPerFrame ?? 1;
    let start = 0;
    for (let end = bytes.indexOf(LINE_END); end >= 0; end = bytes.indexOf(LINE_END, start)) {
      if (bytes[start] === MINUS) this.#fail(new Error(`a reply is ${bytes.toString('latin1', start, end).trimEnd()}`));
      this.#lines += 1;
      start = end + 1;
    }
    if (this.#lines > this.sent * opsPerFrame) this.#fail(new Error('there are more replies than commands'));
    else this.acked = Math.floor(this.#lines / opsPerFrame);
    this.#recordLatencies(ackedBefore);
    return start;
  }

  /** Takes every whole frame from `at` on; returns where the unfinished one starts. */
  #readFrames(bytes: Buffer, at: number): number {
    const ackedBefore = this.acked;
    let start = at;
    while (start + 2 <= bytes.length) {
      let payloadAt = start + 2;
      let payloadBytes = (bytes[start + 1] as number) & 0x7f;
      if (payloadBytes === 126) {
        if (start + 4 > bytes.length) break;
        payloadBytes = bytes.readUInt16BE(start + 2);
        payloadAt += 2;
      } else if (payloadBytes === 127) {
        if (start + 10 > bytes.length) break;
        payloadBytes = Number(bytes.readBigUInt64BE(start + 2));
        payloadAt += 8;
      }
      const end = payloadAt + payloadBytes;
      if (end > bytes.length) break;
      this.#onFrame((bytes[start] as number) & 0x0f, bytes, payloadAt, end);
      start = end;
    }
    this.#recordLatencies(ackedBefore);
    return start;
  }

  #onFrame(opcode: number, bytes: Buffer, start: number, end: number): void {
    if (opcode === OPCODE_BINARY) this.#onMessage(bytes, start, end);
    else if (opcode === OPCODE_PING) this.#socket.write(Uint8Array.of(0x8a, 0x80, 0, 0, 0, 0));
    else if (opcode === OPCODE_CLOSE) this.#fail(new Error(`the server closed with ${closeReason(bytes, start, end)}`));
  }

  #onMessage(bytes: Buffer, start: number, end: number): void {
    const lastId = this.#readLastId(bytes, start, end);
    if (lastId < 0) {
      if (this.otherFrames === 0)
        this.otherText = bytes
          .subarray(start, end)
          .toString('latin1')
          .replace(/[^ -~]+/g, ' ');
      this.otherFrames += 1;
      return;
    }
    const { ackRule, slice } = this.#options;
    const acked = ackRule === 'counted' || slice === undefined ? this.acked + 1 : slice.framesHandled(lastId);
    if (acked > this.sent) this.#fail(new Error(`ack of ${lastId}, which was not sent`));
    else if (acked > this.acked) this.acked = acked;
  }

  /** The number in `lastId`, -1 when the message has none. */
  #readLastId(bytes: Buffer, start: number, end: number): number {
    let at = start + this.#digitsAt;
    if (this.#digitsAt === 0 || bytes[at - 2] !== 0x64 || bytes[at - 3] !== 0x49) {
      const found = bytes.subarray(start, end).indexOf(LAST_ID); // "…Id" did not stand there: look for the name
      if (found < 0) return -1;
      this.#digitsAt = found + LAST_ID.length + 1;
      at = start + this.#digitsAt;
    }
    const digitsEnd = at + ((bytes[at - 1] as number) & 0x1f);
    let number = 0;
    for (; at < digitsEnd; at++) number = number * 10 + (bytes[at] as number) - 0x30;
    return number;
  }

  #recordLatencies(ackedBefore: number): void {
    if (this.acked === ackedBefore) return;
    const { latencies, window } = this.#options;
    const nowUs = performance.now() * 1000;
    for (let frame = ackedBefore; frame < this.acked; frame++)
      latencies.record(nowUs - (this.#sentAtUs[frame % window] as number));
  }
}

/** Frames that are due at that time. */
function dueBy({ framesPerSecond, firstDueUs }: Pace, nowUs: number): number {
  return Math.max(0, Math.floor(((nowUs - firstDueUs) * framesPerSecond) / 1e6) + 1);
}

function dueUs({ framesPerSecond, firstDueUs }: Pace, frame: number): number {
  return firstDueUs + (frame * 1e6) / framesPerSecond;
}

function closeReason(bytes: Buffer, start: number, end: number): string {
  if (end - start < 2) return 'no code';
  return `${bytes.readUInt16BE(start)} ${bytes.subarray(start + 2, end).toString('utf8')}`;
}
