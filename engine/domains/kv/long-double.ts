/**
 * INCRBYFLOAT's arithmetic: the 80-bit floats of the x87, as Redis uses them, so that results are equal digit for digit.
 *
 *   value = mantissa × 2^exponent, the mantissa of at most 64 bits      text: 17 decimals, without zeros at the end
 *
 * Exact in BigInt, rounded to 64 bits, half to even, after reading and after adding. Slow, and only for this command.
 */

/** A float of 64 bits of mantissa. */
interface LongDouble {
  readonly mantissa: bigint;
  readonly exponent: number;
}

const MANTISSA_BITS = 64;
const DECIMALS = 17;
const EXPONENT_MAX = 5000;
/** Powers of two: every float is less than the one, and what is less than the other is read as nothing at all. */
const POWER_MAX = 16384;
const POWER_MIN = -16446;
const TEXT_CHARS_MAX = 5 * 1024;
const DECIMAL = /^([+-]?)(\d{0,5120})(?:\.(\d{0,5120}))?(?:[eE]([+-]?\d{1,6}))?$/;

/** The float that a decimal text spells, or undefined, also where it is too large or too small for one. */
function parse(text: string): LongDouble | undefined {
  const value = parseUnbounded(text);
  return value !== undefined && isWithin(value) && !isTooSmall(value) ? value : undefined;
}

function isWithin({ mantissa, exponent }: LongDouble): boolean {
  return mantissa === 0n || bitsOf(absolute(mantissa)) + exponent <= POWER_MAX;
}

function isTooSmall({ mantissa, exponent }: LongDouble): boolean {
  return mantissa !== 0n && bitsOf(absolute(mantissa)) + exponent <= POWER_MIN;
}

function absolute(value: bigint): bigint {
  return value < 0n ? -value : value;
}

function parseUnbounded(text: string): LongDouble | undefined {
  if (text.length === 0 || text.length > TEXT_CHARS_MAX) return undefined;
  const match = DECIMAL.exec(text);
  if (match === null) return undefined;
  const [, sign = '', whole = '', fraction = '', power = '0'] = match;
  if (whole === '' && fraction === '') return undefined;
  const digits = BigInt(whole + fraction || '0');
  const exponent10 = Number(power) - fraction.length;
  if (digits !== 0n && (exponent10 > EXPONENT_MAX || exponent10 < -2 * EXPONENT_MAX)) return undefined;
  const signed = sign === '-' ? -digits : digits;
  if (exponent10 >= 0) return rounded(signed * 10n ** BigInt(exponent10), 0);
  // Enough bits behind the point that rounding sees more than it keeps; what is left over counts as a bit below them.
  const divisor = 10n ** BigInt(-exponent10);
  const shift = Math.max(0, bitsOf(divisor) - bitsOf(digits)) + MANTISSA_BITS + 8;
  const scaled = (digits << BigInt(shift + 1)) / divisor;
  const isExact = scaled * divisor === digits << BigInt(shift + 1);
  const sticky = (scaled << 1n) | (isExact ? 0n : 1n);
  return rounded(sign === '-' ? -sticky : sticky, -(shift + 2));
}

function add(a: LongDouble, b: LongDouble): LongDouble {
  const exponent = Math.min(a.exponent, b.exponent);
  const sum = (a.mantissa << BigInt(a.exponent - exponent)) + (b.mantissa << BigInt(b.exponent - exponent));
  return rounded(sum, exponent);
}

/** The nearest float, the even one of two. */
function rounded(mantissa: bigint, exponent: number): LongDouble {
  const isNegative = mantissa < 0n;
  let size = isNegative ? -mantissa : mantissa;
  const excess = bitsOf(size) - MANTISSA_BITS;
  if (excess <= 0) return { mantissa, exponent };
  const rest = size & ((1n << BigInt(excess)) - 1n);
  size >>= BigInt(excess);
  const half = 1n << BigInt(excess - 1);
  if (rest > half || (rest === half && (size & 1n) === 1n)) size += 1n;
  return { mantissa: isNegative ? -size : size, exponent: exponent + excess };
}

function bitsOf(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}

function format({ mantissa, exponent }: LongDouble): string {
  const isNegative = mantissa < 0n;
  const size = isNegative ? -mantissa : mantissa;
  const scaled = size * 10n ** BigInt(DECIMALS);
  let digits: bigint;
  if (exponent >= 0) digits = scaled << BigInt(exponent);
  else {
    const shift = BigInt(-exponent);
    digits = scaled >> shift;
    const rest = scaled - (digits << shift);
    const half = 1n << (shift - 1n);
    if (rest > half || (rest === half && (digits & 1n) === 1n)) digits += 1n;
  }
  const text = digits.toString().padStart(DECIMALS + 1, '0');
  const whole = text.slice(0, -DECIMALS);
  const fraction = text.slice(-DECIMALS).replace(/0+$/, '');
  const unsigned = fraction === '' ? whole : `${whole}.${fraction}`;
  return isNegative && unsigned !== '0' ? `-${unsigned}` : unsigned;
}

/** `a + b` as Redis writes it; undefined when one of them is no number, or the sum too large for one. */
export function addDecimals(a: string, b: string): string | undefined {
  const left = parse(a);
  const right = parse(b);
  if (left === undefined || right === undefined) return undefined;
  const sum = add(left, right);
  return isWithin(sum) ? format(sum) : undefined;
}

/** True for the texts that INCRBYFLOAT takes. */
export function isDecimal(text: string): boolean {
  return parse(text) !== undefined;
}
