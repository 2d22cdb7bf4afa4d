/**
 * Counts the pongs in what a WebSocket server sends, and steps over everything else without keeping it.
 *
 *   header (2, 4 or 10 bytes, kept when a read cuts it) ─▶ payload (skipped, over as many reads as it takes)
 *
 * A ping behind each batch is answered when the batch has been handed to the peer's code: that is all it says, and it keeps the
 * batches under way few. A close frame is an error: peers close who sends too much.
 */
const OPCODE_CLOSE = 8;
const OPCODE_PING = 9;
const OPCODE_PONG = 10;

/** Empty ones, masked with the key 0. */
export const PING_FRAME = Uint8Array.of(0x89, 0x80, 0, 0, 0, 0);
export const PONG_FRAME = Uint8Array.of(0x8a, 0x80, 0, 0, 0, 0);

export class PongCounter {
  pongs = 0;
  /** Pings of the server, which wants a pong for each. */
  pings = 0;
  /** The server has said that it closes the connection. */
  isClosed = false;
  #skipBytes = 0;
  #header = Buffer.alloc(0);

  take(chunk: Buffer): void {
    let at = Math.min(this.#skipBytes, chunk.length);
    this.#skipBytes -= at;
    while (at < chunk.length) {
      const kept = this.#header.length;
      const bytes = kept === 0 ? chunk.subarray(at) : Buffer.concat([this.#header, chunk.subarray(at, at + 10)]);
      const size = headerBytes(bytes);
      if (size > bytes.length) {
        this.#header = Buffer.from(bytes); // the memory of the read is used again
        return;
      }
      this.#header = this.#header.subarray(0, 0);
      this.#note((bytes[0] as number) & 0x0f);
      at += size - kept;
      const payloadBytes = payloadBytesOf(bytes);
      const here = Math.min(payloadBytes, chunk.length - at);
      this.#skipBytes = payloadBytes - here;
      at += here;
    }
  }

  #note(opcode: number): void {
    if (opcode === OPCODE_PONG) this.pongs += 1;
    else if (opcode === OPCODE_PING) this.pings += 1;
    else if (opcode === OPCODE_CLOSE) this.isClosed = true;
  }
}

function headerBytes(bytes: Buffer): number {
  if (bytes.length < 2) return 2;
  const length = (bytes[1] as number) & 0x7f;
  if (length < 126) return 2;
  return length === 126 ? 4 : 10;
}

function payloadBytesOf(bytes: Buffer): number {
  const length = (bytes[1] as number) & 0x7f;
  if (length < 126) return length;
  return length === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
}
