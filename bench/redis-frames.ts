/**
 * HSET commands, built once and sent many times: what write-frames.ts is for the product. Redis keeps whatever came last, so it does
 * not merge; it shows what storing the same fields costs.
 *
 *   HSET <key> title "item NNNNNN" millis <13 digits>        every command of the same size; digits are written before each sending
 */
import type { Frames } from './load-connection.ts';
import { KEY_DIGITS, mixedKey, type OpMix } from './op-mix.ts';
import { commandText } from './redis-peer.ts';

const MILLIS_DIGITS = 13;
const TITLE_DIGITS = 6;

export class RedisSlice implements Frames {
  readonly bytes: Uint8Array;
  readonly frameBytes: number;
  readonly frames: number;
  readonly opsPerFrame: number;
  readonly #mix: OpMix;
  readonly #commandBytes: number;
  readonly #keyAt: number;
  readonly #titleAt: number;
  readonly #millisAt: number;

  constructor(keyPrefix: string, frames: number, opsPerFrame: number, mix: OpMix) {
    const millis = 'M'.repeat(MILLIS_DIGITS);
    const title = 'T'.repeat(TITLE_DIGITS);
    const text = commandText(['HSET', mixedKey(keyPrefix, 0), 'title', `item ${title}`, 'millis', millis]);
    const command = Buffer.from(text);
    this.frames = frames;
    this.opsPerFrame = opsPerFrame;
    this.#mix = mix;
    this.#commandBytes = command.length;
    this.frameBytes = command.length * opsPerFrame;
    this.#keyAt = text.indexOf('0'.repeat(KEY_DIGITS));
    this.#titleAt = text.indexOf(title);
    this.#millisAt = text.indexOf(millis);
    this.bytes = Buffer.concat(Array.from({ length: frames * opsPerFrame }, () => command));
  }

  stamp(frame: number, round: number): void {
    const first = (round * this.frames + frame) * this.opsPerFrame;
    let at = frame * this.frameBytes;
    for (let op = first; op < first + this.opsPerFrame; op++) {
      writeDigits(this.bytes, at + this.#keyAt, this.#mix.keyOf(op), KEY_DIGITS);
      writeDigits(this.bytes, at + this.#titleAt, op % 1_000_000, TITLE_DIGITS);
      writeDigits(this.bytes, at + this.#millisAt, this.#mix.millisOf(op), MILLIS_DIGITS);
      at += this.#commandBytes;
    }
  }

  /** Replies name nothing: lines are counted instead. */
  framesHandled(): number {
    return 0;
  }
}

function writeDigits(bytes: Uint8Array, at: number, number: number, digits: number): void {
  let rest = number;
  for (let place = digits - 1; place >= 0; place--) {
    bytes[at + place] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}
