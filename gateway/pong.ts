/** The answer to a PING: its timestamp echoed byte for byte, and the server's clock. */
import { MessageWriter } from '../engine/protocol/msgpack-writer.ts';

/** `frame[start, start + length)` is the PING's timestamp, a MessagePack number; 0 bytes when it had none. */
export function pongFrame(frame: Uint8Array, start: number, length: number, serverTimeMs: number): Uint8Array {
  const out = new MessageWriter();
  out.mapHeader(3);
  out.string('type');
  out.string('PONG');
  out.string('timestamp');
  if (length > 0) out.raw(frame, start, length);
  else out.number(serverTimeMs);
  out.string('serverTime');
  out.number(serverTimeMs);
  return out.bytes.slice(0, out.length);
}
