/**
 * Numbers of MessagePack, read in place: every width of integer and float becomes a double, as in the client.
 *
 * 64-bit integers are rounded to the nearest double (docs/PROTOCOL.md §1.2).
 * Words are put together in the machine's order, which is little-endian wherever the dependencies' binaries run.
 */

/** Where `readNumber` leaves its number: a double that is returned would be allocated. */
export const number = new Float64Array(1);
const numberWords = new Int32Array(number.buffer);
const numberSingle = new Float32Array(number.buffer);

export function isNumber(token: number): boolean {
  return token <= 0x7f || token >= 0xe0 || (token >= 0xca && token <= 0xd3);
}

/** Reads a number of any width (64-bit integers are rounded to doubles); NaN when it is none. The value is known to be whole. */
export function readNumber(bytes: Uint8Array, at: number): void {
  const token = bytes[at] as number;
  if (token <= 0x7f) {
    number[0] = token;
  } else if (token === 0xcb) {
    numberWords[1] = i32(bytes, at + 1);
    numberWords[0] = i32(bytes, at + 5);
  } else {
    readRareNumber(bytes, at, token);
  }
}

function readRareNumber(bytes: Uint8Array, at: number, token: number): void {
  const byte = bytes[at + 1] as number;
  if (token >= 0xe0) number[0] = token - 0x100;
  else if (token === 0xcc) number[0] = byte;
  else if (token === 0xd0) number[0] = (byte << 24) >> 24;
  else if (token === 0xcd) number[0] = (byte << 8) | (bytes[at + 2] as number);
  else if (token === 0xd1) number[0] = ((byte << 24) >> 16) | (bytes[at + 2] as number);
  else if (token === 0xce) number[0] = i32(bytes, at + 1) >>> 0;
  else if (token === 0xd2) number[0] = i32(bytes, at + 1);
  else if (token === 0xcf) number[0] = (i32(bytes, at + 1) >>> 0) * 0x1_0000_0000 + (i32(bytes, at + 5) >>> 0);
  else if (token === 0xd3) number[0] = i32(bytes, at + 1) * 0x1_0000_0000 + (i32(bytes, at + 5) >>> 0);
  else if (token === 0xca) {
    numberWords[0] = i32(bytes, at + 1);
    number[0] = numberSingle[0] as number;
  } else number[0] = Number.NaN;
}

/** A big-endian 32-bit word, signed. */
export function i32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}
