/** What a server's WebSocket frames carry, cut out of a stream however reads cut the frames. No frame is kept. */

const LENGTH_OF_16_BITS = 126;
const LENGTH_OF_64_BITS = 127;

export class FramePayloads {
  /** Bytes of a header that is not whole yet. */
  #header: number[] = [];
  #payloadLeft = 0;

  /** Hands on each piece of a payload that is in the chunk. */
  take(chunk: Buffer, onPayload: (piece: Buffer) => void): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#payloadLeft === 0) {
        this.#takeHeader(chunk[at] as number);
        at += 1;
        continue;
      }
      const end = Math.min(chunk.length, at + this.#payloadLeft);
      this.#payloadLeft -= end - at;
      onPayload(chunk.subarray(at, end));
      at = end;
    }
  }

  #takeHeader(byte: number): void {
    this.#header.push(byte);
    const short = this.#header[1];
    if (short === undefined) return;
    const moreBytes = short === LENGTH_OF_16_BITS ? 2 : short === LENGTH_OF_64_BITS ? 8 : 0;
    if (this.#header.length < 2 + moreBytes) return;
    const digits = this.#header.slice(2);
    this.#payloadLeft = moreBytes === 0 ? short : digits.reduce((length, digit) => length * 256 + digit, 0);
    this.#header = [];
  }
}
