/** What a WebSocket client of a benchmark sends, as bytes: the upgrade, and frames that are masked with the key 0 and so travel as they are. */
import type { Step } from './fan-out/byte-stream.ts';
import { clientFrameHeader } from './write-frames.ts';

/** @param number of the connection: each has a key of its own, by which some servers know it */
export function upgrade(path: string, expect = '\r\n\r\n', number = 0): Step {
  const key = Buffer.from(`lattice-bench${String(number).padStart(3, '0')}`).toString('base64');
  const lines = [
    `GET ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
  ];
  return { send: `${lines.join('\r\n')}\r\n\r\n`, expect };
}

export function binaryFrame(payload: Uint8Array | readonly number[]): Uint8Array {
  return Buffer.concat([clientFrameHeader(payload.length), Uint8Array.from(payload)]);
}

export function textFrame(text: string): Uint8Array {
  const frame = binaryFrame(Buffer.from(text));
  frame[0] = 0x81;
  return frame;
}

/** As lib0 writes them, which Yjs's protocols are made of. */
export function varString(text: string): number[] {
  const bytes = Buffer.from(text);
  return [...varUint(bytes.length), ...bytes];
}

export function varUint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return [...bytes, rest];
}
