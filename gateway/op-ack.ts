/**
 * The plain OP_ACK as a template: `{type: 'OP_ACK', payload: {lastId: '<digits>', achievedLevel: '<level>'}}`.
 *
 * One buffer per number of digits, made once; an ack writes its digits and sends the buffer. The socket copies what it
 * cannot send at once, so the buffer is free again when `send` returns.
 */
import { encode } from '../engine/protocol/codec.ts';

const DIGITS_MAX = 16;
const ZERO = 0x30;

export class OpAckFrames {
  readonly #frames: Uint8Array[] = [];
  readonly #digitsAt: number[] = [];

  constructor(achievedLevel: string) {
    for (let digits = 0; digits <= DIGITS_MAX; digits++) {
      const frame = encode({ type: 'OP_ACK', payload: { lastId: '0'.repeat(Math.max(1, digits)), achievedLevel } }).slice();
      this.#frames.push(frame);
      this.#digitsAt.push(positionOfText(frame, 'lastId') + 'lastId'.length + 1);
    }
  }

  /** The frame for `lastId`, an integer from 0 to 2^53. Valid until the next call. */
  frame(lastId: number): Uint8Array {
    let digits = 1;
    for (let bound = 10; lastId >= bound && digits < DIGITS_MAX; bound *= 10) digits += 1;
    const frame = this.#frames[digits] as Uint8Array;
    let at = (this.#digitsAt[digits] as number) + digits - 1;
    let rest = lastId;
    while (rest > 0x3fffffff) {
      const next = Math.floor(rest / 10);
      frame[at--] = ZERO + (rest - next * 10);
      rest = next;
    }
    let small = rest | 0;
    for (const first = this.#digitsAt[digits] as number; at >= first; at--) {
      const next = (small / 10) | 0;
      frame[at] = ZERO + (small - next * 10);
      small = next;
    }
    return frame;
  }
}

function positionOfText(frame: Uint8Array, text: string): number {
  return Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).indexOf(text);
}
