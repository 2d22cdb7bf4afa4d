/** Whole numbers as decimal digits, written into bytes without a string. */

const MINUS = 0x2d;
const ZERO = 0x30;

/** Bytes of a whole, safe number in decimal. */
export function decimalBytes(value: number): number {
  let rest = value < 0 ? -value : value;
  let bytes = value < 0 ? 2 : 1;
  while (rest >= 10) {
    rest = Math.floor(rest / 10);
    bytes += 1;
  }
  return bytes;
}

/** Writes a whole, safe number at `at` and answers where it ends. `target` has room for `decimalBytes` of it. */
export function writeDecimal(target: Uint8Array, at: number, value: number): number {
  const end = at + decimalBytes(value);
  let rest = value;
  if (value < 0) {
    target[at] = MINUS;
    rest = -value;
  }
  for (let place = end - 1; ; place--) {
    const tenth = Math.floor(rest / 10);
    target[place] = ZERO + (rest - tenth * 10);
    if (tenth === 0) return end;
    rest = tenth;
  }
}
