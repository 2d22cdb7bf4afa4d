/** Numbers as Redis reads and writes them: 64-bit integers in their only spelling. */
import { decimalBytes, writeDecimal } from '../../protocol/decimal.ts';
import type { Call } from './command.ts';
import { KvError, NOT_AN_INTEGER } from './command.ts';

export const INT64_MAX = 2n ** 63n - 1n;
export const INT64_MIN = -(2n ** 63n);
const SAFE_DIGITS = 15;
const MINUS = 0x2d;
const ZERO = 0x30;

/** The integer that the bytes spell, a number where it is safe; undefined when they do not spell one of 64 bits. */
export function integerOf(bytes: Uint8Array, start = 0, length = bytes.length - start): number | bigint | undefined {
  if (length === 0 || length > 20) return undefined;
  const end = start + length;
  const isNegative = bytes[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  if (end === first) return undefined;
  if (bytes[first] === ZERO) return length === 1 ? 0 : undefined;
  let value = 0;
  for (let index = first; index < end; index++) {
    const digit = (bytes[index] as number) - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  if (end - first <= SAFE_DIGITS) return isNegative ? -value : value;
  const exact = BigInt(String.fromCharCode(...bytes.subarray(start, end)));
  return exact >= INT64_MIN && exact <= INT64_MAX ? exact : undefined;
}

/** An argument that must be an integer. */
export function integerArgument(call: Pick<Call, 'args'>, index: number, error = NOT_AN_INTEGER): bigint {
  const { args } = call;
  const value = index < args.count ? integerOf(args.bytes, args.starts[index], args.lengths[index]) : undefined;
  if (value === undefined) throw new KvError(error);
  return BigInt(value);
}

/** An argument that must be an integer within these bounds, both included. */
export function boundedArgument(
  call: Pick<Call, 'args'>,
  index: number,
  min: number,
  max: number,
  error = NOT_AN_INTEGER,
): number {
  const value = integerArgument(call, index, error);
  if (value < BigInt(min) || value > BigInt(max)) throw new KvError(error);
  return Number(value);
}

/** An index into a string: what lies beyond a double is beyond every string. */
export function indexArgument(call: Pick<Call, 'args'>, index: number): number {
  return Number(integerArgument(call, index));
}

const encoder = new TextEncoder();

/** The decimal spelling. A number is whole and safe. */
export function integerText(value: number | bigint): Uint8Array {
  if (typeof value === 'bigint') return encoder.encode(String(value));
  const text = new Uint8Array(decimalBytes(value));
  writeDecimal(text, 0, value);
  return text;
}
