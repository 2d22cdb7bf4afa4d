/** INCR and its relatives: whole 64-bit integers, and decimals as Redis adds them (long-double.ts). */
import { writeDecimal } from '../../protocol/decimal.ts';
import { type Call, type CommandSpec, KvError, NOT_AN_INTEGER, writes } from './command.ts';
import { addDecimals, isDecimal } from './long-double.ts';
import { INT64_MAX, INT64_MIN, integerArgument, integerOf, integerText } from './numbers.ts';

const OVERFLOW = 'ERR increment or decrement would overflow';
const NOT_A_FLOAT = 'ERR value is not a valid float';
const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');
/** The sum at hand, spelt. */
const digits = new Uint8Array(24);

/** Adds to the integer under a key; a missing one is 0. The time to live stays. */
function increment(call: Call, by: number | bigint): void {
  const { space, args, out } = call;
  const stored = space.at(args, 1);
  const old = stored === undefined ? 0 : integerOf(stored.source, stored.start, stored.length);
  if (old === undefined) throw new KvError(NOT_AN_INTEGER);
  const sum = added(old, by);
  const expiresAtMs = stored === undefined ? Number.NaN : stored.expiresAtMs;
  if (typeof sum === 'number') space.put(args, 1, digits, 0, writeDecimal(digits, 0, sum), expiresAtMs);
  else space.set(args.argument(1), integerText(sum), expiresAtMs);
  out.integer(sum);
}

/** Numbers stay numbers while that is exact. */
function added(old: number | bigint, by: number | bigint): number | bigint {
  if (typeof old === 'number' && typeof by === 'number' && Number.isSafeInteger(old + by)) return old + by;
  const sum = BigInt(old) + BigInt(by);
  if (sum > INT64_MAX || sum < INT64_MIN) throw new KvError(OVERFLOW);
  return sum;
}

function decrementBy(call: Call): void {
  const by = integerArgument(call, 2);
  if (by === INT64_MIN) throw new KvError('ERR decrement would overflow');
  increment(call, -by);
}

function incrementByFloat(call: Call): void {
  const key = call.args.argument(1);
  const stored = call.space.get(key);
  const old = stored === undefined ? '0' : decoder.decode(stored.value);
  const by = decoder.decode(call.args.argument(2));
  if (!isDecimal(old) || !isDecimal(by)) throw new KvError(NOT_A_FLOAT);
  const told = addDecimals(old, by);
  if (told === undefined) throw new KvError('ERR increment would produce NaN or Infinity');
  const sum = encoder.encode(told);
  call.space.set(key, sum, stored?.expiresAtMs ?? Number.NaN);
  call.out.bulk(sum);
}

const FLAGS = ['denyoom', 'fast'];

export const COUNTER_COMMANDS: readonly CommandSpec[] = [
  writes('incr', 2, (call) => increment(call, 1), FLAGS),
  writes('decr', 2, (call) => increment(call, -1), FLAGS),
  writes('incrby', 3, (call) => increment(call, integerArgument(call, 2)), FLAGS),
  writes('decrby', 3, decrementBy, FLAGS),
  writes('incrbyfloat', 3, incrementByFloat, FLAGS),
];
