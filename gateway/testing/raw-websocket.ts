/**
 * A WebSocket client on a TCP socket: small enough that tests can hold every part of it, also the parts that no
 * browser lets go wrong (Host and Origin headers, reading that stops, oversized and fragmented frames).
 *
 *   open ─ HTTP upgrade ─┬─ 101 ─▶ open ─ close frame or end of the socket ─▶ closed {code, reason}
 *                        └─ else ─▶ UpgradeRefused {status}
 *
 * Source: RFC 6455.
 */
import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const OPEN_DEADLINE_MS = 10_000;

export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** How a connection ended. 1006 with no reason: the socket ended without a close frame. */
export interface Closed {
  readonly code: number;
  readonly reason: string;
}

export class UpgradeRefused extends Error {
  override readonly name = 'UpgradeRefused';
  readonly status: number;

  constructor(status: number) {
    super(`the upgrade was answered with ${status}`);
    this.status = status;
  }
}

export interface RawWebSocketOptions {
  readonly port: number;
  /** Default `/ws`. */
  readonly path?: string | undefined;
  /** Certificate to be trusted: TLS is spoken then, to the name localhost. */
  readonly ca?: Buffer | undefined;
  /** Set, replaced, or with '' left out. Default: Host 127.0.0.1 and the port. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export class RawWebSocket {
  /** Resolves, never rejects, when the connection is over. */
  readonly closed: Promise<Closed>;
  onMessage: (message: Uint8Array, isBinary: boolean) => void = () => {};
  readonly #socket: Socket;
  #received: Buffer;
  #fragments: Buffer[] = [];
  #fragmentsBinary = true;
  #ended: Closed | undefined;
  #tellClosed: (closed: Closed) => void = () => {};

  private constructor(socket: Socket, received: Buffer) {
    this.#socket = socket;
    this.#received = received;
    this.closed = new Promise((resolve) => {
      this.#tellClosed = resolve;
    });
    socket.on('data', (chunk: Buffer) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      this.#readFrames();
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => this.#end({ code: 1006, reason: '' }));
    setImmediate(() => this.#readFrames()); // what came with the answer to the upgrade
  }

  /** Connects to 127.0.0.1. Rejects with UpgradeRefused when the answer is not 101. */
  static async open(options: RawWebSocketOptions): Promise<RawWebSocket> {
    const address = { host: '127.0.0.1', port: options.port, noDelay: true };
    const socket =
      options.ca === undefined ? connect(address) : connectTls({ ...address, ca: options.ca, servername: 'localhost' });
    try {
      const key = randomBytes(16).toString('base64');
      socket.write(upgradeRequest(options, key));
      const received = await readHead(socket);
      const headEnd = received.indexOf('\r\n\r\n');
      const head = received.subarray(0, headEnd).toString('latin1');
      const status = Number(head.split(' ')[1]);
      if (status !== 101) throw new UpgradeRefused(status);
      const accept = createHash('sha1')
        .update(key + ACCEPT_GUID)
        .digest('base64');
      if (!head.toLowerCase().includes(`sec-websocket-accept: ${accept.toLowerCase()}`))
        throw new Error(`wrong accept in: ${head}`);
      return new RawWebSocket(socket, received.subarray(headEnd + 4));
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#ended === undefined;
  }

  send(message: Uint8Array): void {
    this.sendFrame(OPCODE.BINARY, message);
  }

  sendText(text: string): void {
    this.sendFrame(OPCODE.TEXT, Buffer.from(text, 'utf8'));
  }

  /** Sends one frame, of a message with more frames when `isFinal` is false. */
  sendFrame(opcode: number, payload: Uint8Array, isFinal = true): void {
    if (this.#ended === undefined) this.#socket.write(maskedFrame(opcode, payload, isFinal));
  }

  /** Stops reading: the server's sends pile up in the kernel and then in the server. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Says goodbye; `closed` resolves when the server has answered. */
  close(code = 1000): void {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code, 0);
    this.sendFrame(OPCODE.CLOSE, payload);
  }

  /** Ends the connection as a lost network does, without a word. */
  terminate(): void {
    this.#socket.destroy();
    this.#end({ code: 1006, reason: '' });
  }

  #readFrames(): void {
    while (this.#ended === undefined) {
      const frame = parseFrame(this.#received);
      if (frame === undefined) return;
      this.#received = this.#received.subarray(frame.end);
      this.#take(frame);
    }
  }

  #take({ opcode, isFinal, payload }: Frame): void {
    switch (opcode) {
      case OPCODE.PING:
        return this.sendFrame(OPCODE.PONG, payload);
      case OPCODE.PONG:
        return;
      case OPCODE.CLOSE: {
        const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
        this.sendFrame(OPCODE.CLOSE, payload.subarray(0, 2));
        this.#end({ code, reason: payload.subarray(2).toString('utf8') });
        this.#socket.end();
        return;
      }
      default:
        return this.#takePart(opcode, isFinal, payload);
    }
  }

  #takePart(opcode: number, isFinal: boolean, payload: Buffer): void {
    if (opcode !== OPCODE.CONTINUATION) this.#fragmentsBinary = opcode === OPCODE.BINARY;
    this.#fragments.push(payload);
    if (!isFinal) return;
    const message = this.#fragments.length === 1 ? payload : Buffer.concat(this.#fragments);
    this.#fragments = [];
    this.onMessage(message, this.#fragmentsBinary);
  }

  #end(closed: Closed): void {
    if (this.#ended !== undefined) return;
    this.#ended = closed;
    this.#tellClosed(closed);
  }
}

interface Frame {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly payload: Buffer;
  /** Bytes of the whole frame. */
  readonly end: number;
}

/** The first frame in `bytes`, or undefined while it is not whole. Servers do not mask. */
function parseFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes.readUInt8(1) & 0x7f;
  const header = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < header) return undefined;
  const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  const end = header + length;
  if (bytes.length < end) return undefined;
  const first = bytes.readUInt8(0);
  return { opcode: first & 0x0f, isFinal: (first & 0x80) !== 0, payload: bytes.subarray(header, end), end };
}

function maskedFrame(opcode: number, payload: Uint8Array, isFinal: boolean): Buffer {
  const { length } = payload;
  const header = length < 126 ? 2 : length <= 0xffff ? 4 : 10;
  const frame = Buffer.allocUnsafe(header + 4 + length);
  frame[0] = (isFinal ? 0x80 : 0) | opcode;
  frame[1] = 0x80 | (length < 126 ? length : length <= 0xffff ? 126 : 127);
  if (header === 4) frame.writeUInt16BE(length, 2);
  if (header === 10) frame.writeBigUInt64BE(BigInt(length), 2);
  const mask = randomBytes(4);
  frame.set(mask, header);
  for (let index = 0; index < length; index++)
    frame[header + 4 + index] = (payload[index] as number) ^ (mask[index & 3] as number);
  return frame;
}

function upgradeRequest({ port, path, headers }: RawWebSocketOptions, key: string): string {
  const all: Record<string, string> = {
    Host: `127.0.0.1:${port}`,
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits', // offered by Node's ws; may be declined
    'Sec-WebSocket-Key': key,
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === '' ? [] : [`${name}: ${value}`]));
  return [`GET ${path ?? '/ws'} HTTP/1.1`, ...lines, '', ''].join('\r\n');
}

/** Bytes up to the end of the response's head at least. */
function readHead(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const impatience = setTimeout(() => done(new Error('no answer to the upgrade')), OPEN_DEADLINE_MS);
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      if (received.includes('\r\n\r\n')) done(undefined);
    };
    const onError = (error: Error): void => done(error);
    const onClose = (): void => done(new Error('the socket was closed before the upgrade was answered'));
    const done = (error: Error | undefined): void => {
      clearTimeout(impatience);
      socket.off('data', onData).off('error', onError).off('close', onClose);
      if (error === undefined) resolve(received);
      else reject(error);
    };
    socket.on('data', onData).on('error', onError).on('close', onClose);
  });
}
