/**
 * The number of a write, as it stands in its value: `~~` and eight digits. It crosses every protocol as it is, so whoever
 * receives it need not know the frames around it.
 *
 *   …~~00000123…        found by a search for bytes; a marker that a read has cut is put together with the next read
 */
const SIGN = Buffer.from('~~');
const DIGITS = 8;
export const MARKER_BYTES = SIGN.length + DIGITS;
const TILDE = 0x7e;

export function markerText(number: number): string {
  return `~~${String(number).padStart(DIGITS, '0')}`;
}

/** Finds the markers in a stream of bytes. */
export class MarkerReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Calls `found` with each number that `chunk` completes; keeps none of `chunk`. */
  take(chunk: Buffer, found: (number: number) => void): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = bytes.indexOf(SIGN);
    while (at >= 0 && at + MARKER_BYTES <= bytes.length) {
      found(numberAt(bytes, at + SIGN.length));
      at = bytes.indexOf(SIGN, at + MARKER_BYTES);
    }
    const restAt = at >= 0 ? at : bytes[bytes.length - 1] === TILDE ? bytes.length - 1 : bytes.length;
    this.#rest = restAt === bytes.length ? EMPTY : Buffer.from(bytes.subarray(restAt));
  }
}

const EMPTY = Buffer.alloc(0);

function numberAt(bytes: Buffer, start: number): number {
  let number = 0;
  for (let at = start; at < start + DIGITS; at++) number = number * 10 + (bytes[at] as number) - 0x30;
  return number;
}
