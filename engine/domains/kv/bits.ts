/** Strings as rows of bits. Bit 0 is the highest of the first byte. */
import type { RespCommand } from '../../protocol/resp-parser.ts';
import { type Call, type CommandSpec, KvError, reads, SYNTAX_ERROR, writes } from './command.ts';
import { boundedArgument, indexArgument, integerArgument } from './numbers.ts';
import { VALUE_BYTES_MAX } from './space.ts';
import { rangeOf } from './strings.ts';

const NONE = new Uint8Array(0);
const OFFSET_ERROR = 'ERR bit offset is not an integer or out of range';
/** Of all sources of one BITOP, each counted once: more would hold the worker up. */
const SOURCES_BYTES_MAX = 64 << 20;
const SOURCES_TOO_LONG = 'ERR the sources of BITOP are longer than 64 MiB together';
const BLOCK_WORDS = 4096;
const latin1 = new TextDecoder('latin1');
const OFFSET_MAX = VALUE_BYTES_MAX * 8 - 1;
const ONES = Uint8Array.from({ length: 256 }, (_, byte) => {
  let ones = 0;
  for (let bits = byte; bits > 0; bits >>= 1) ones += bits & 1;
  return ones;
});

function bitAt(value: Uint8Array, bit: number): number {
  return (((value[bit >>> 3] ?? 0) as number) >> (7 - (bit & 7))) & 1;
}

function setBit(call: Call): void {
  const offset = boundedArgument(call, 2, 0, OFFSET_MAX, OFFSET_ERROR);
  const bit = boundedArgument(call, 3, 0, 1, 'ERR bit is not an integer or out of range');
  const key = call.args.argument(1);
  const stored = call.space.get(key);
  const old = stored?.value ?? NONE;
  const before = bitAt(old, offset);
  if (before === bit && offset >>> 3 < old.length) return call.out.integer(before);
  const value = new Uint8Array(Math.max(old.length, (offset >>> 3) + 1));
  value.set(old);
  const mask = 1 << (7 - (offset & 7));
  value[offset >>> 3] = ((value[offset >>> 3] as number) & ~mask) | (bit === 1 ? mask : 0);
  call.space.set(key, value, stored?.expiresAtMs ?? Number.NaN);
  call.out.integer(before);
}

function getBit(call: Call): void {
  const offset = boundedArgument(call, 2, 0, OFFSET_MAX, OFFSET_ERROR);
  call.out.integer(bitAt(call.space.get(call.args.argument(1))?.value ?? NONE, offset));
}

/** True when the word at `index` says that the range counts bits. */
function countsBits(call: Call, index: number): boolean {
  if (call.args.count <= index) return false;
  const word = call.args.text(index).toLowerCase();
  if (word !== 'bit' && word !== 'byte') throw new KvError(SYNTAX_ERROR);
  return word === 'bit';
}

function bitCount(call: Call): void {
  const { args } = call;
  const value = call.space.get(args.argument(1))?.value;
  if (value === undefined) return call.out.integer(0); // before anything else is looked at
  if (args.count === 3 || args.count > 5) throw new KvError(SYNTAX_ERROR);
  const hasRange = args.count > 3;
  const start = hasRange ? indexArgument(call, 2) : 0;
  const end = hasRange ? indexArgument(call, 3) : -1;
  if (start < 0 && end < 0 && start > end) return call.out.integer(0);
  const isBits = countsBits(call, 4);
  const [from, to] = rangeOf(start, end, isBits ? value.length * 8 : value.length);
  if (value.length === 0 || from > to) return call.out.integer(0);
  call.out.integer(isBits ? onesBetween(value, from, to) : onesBetween(value, from * 8, to * 8 + 7));
}

/** Ones from bit `from` to bit `to`, both included. */
function onesBetween(value: Uint8Array, from: number, to: number): number {
  let ones = 0;
  let bit = from;
  while (bit <= to) {
    if ((bit & 7) === 0 && bit + 7 <= to) {
      ones += ONES[value[bit >>> 3] as number] as number;
      bit += 8;
    } else {
      ones += bitAt(value, bit);
      bit += 1;
    }
  }
  return ones;
}

function bitPosition(call: Call): void {
  const { args } = call;
  const bit = integerArgument(call, 2);
  if (bit !== 0n && bit !== 1n) throw new KvError('ERR The bit argument must be 1 or 0.');
  const wanted = Number(bit);
  const stored = call.space.get(args.argument(1));
  if (stored === undefined) return call.out.integer(wanted === 1 ? -1 : 0); // as above
  const { value } = stored;
  if (args.count > 6) throw new KvError(SYNTAX_ERROR);
  const hasEnd = args.count > 4;
  const start = args.count > 3 ? indexArgument(call, 3) : 0;
  const isBits = countsBits(call, 5);
  const end = hasEnd ? indexArgument(call, 4) : -1;
  const [from, to] = positionRange(start, end, isBits ? value.length * 8 : value.length);
  if (from > to) return call.out.integer(-1);
  const last = isBits ? to : to * 8 + 7;
  const found = firstBit(value, wanted, isBits ? from : from * 8, last);
  // A string of ones is followed by zeros for ever, unless the end was named.
  if (found < 0 && wanted === 0 && !hasEnd) return call.out.integer(last + 1);
  call.out.integer(found);
}

/** Unlike GETRANGE's, an inverted range of negative numbers is judged after it was counted from the end. */
function positionRange(start: number, end: number, size: number): readonly [from: number, to: number] {
  const from = Math.max(0, start < 0 ? size + start : start);
  const to = Math.max(0, end < 0 ? size + end : end);
  return [from, Math.min(to, size - 1)];
}

function firstBit(value: Uint8Array, wanted: number, from: number, to: number): number {
  const skipped = wanted === 1 ? 0 : 0xff;
  let bit = from;
  while (bit <= to) {
    if ((bit & 7) === 0 && bit + 7 <= to && value[bit >>> 3] === skipped) bit += 8;
    else if (bitAt(value, bit) === wanted) return bit;
    else bit += 1;
  }
  return -1;
}

function bitOperation(call: Call): void {
  const { args, space } = call;
  const name = args.text(1).toLowerCase();
  if (name !== 'and' && name !== 'or' && name !== 'xor' && name !== 'not') throw new KvError(SYNTAX_ERROR);
  if (name === 'not' && args.count !== 4) throw new KvError('ERR BITOP NOT must be called with a single source key.');
  const fold = new BitFold(name);
  for (const [key, times] of timesNamed(args)) fold.add(space.get(key)?.value ?? NONE, times);
  const target = args.argument(2);
  const value = fold.value();
  if (value.length === 0) space.remove(target);
  else space.set(target, value, Number.NaN);
  call.out.integer(value.length);
}

/** The sources of BITOP, each once, and how often it is named. */
function timesNamed(args: RespCommand): Iterable<readonly [key: Uint8Array, times: number]> {
  const sources = new Map<string, [key: Uint8Array, times: number]>();
  for (let index = 3; index < args.count; index++) {
    const key = args.argument(index);
    const name = latin1.decode(key);
    const known = sources.get(name);
    if (known === undefined) sources.set(name, [key, 1]);
    else known[1] += 1;
  }
  return sources.values();
}

/** The outcome of BITOP, one source after another: none is kept, since each is valid until the next one is asked for. */
class BitFold {
  readonly #name: 'and' | 'or' | 'xor' | 'not';
  #result: Uint8Array | undefined;
  #sourceBytes = 0;

  constructor(name: 'and' | 'or' | 'xor' | 'not') {
    this.#name = name;
  }

  /** A source that is named so often. Throws KvError when the sources are too much. */
  add(source: Uint8Array, times: number): void {
    this.#sourceBytes += source.length;
    if (this.#sourceBytes > SOURCES_BYTES_MAX) throw new KvError(SOURCES_TOO_LONG);
    const isNothing = this.#name === 'xor' && times % 2 === 0;
    if (this.#result === undefined) this.#result = isNothing ? new Uint8Array(source.length) : source.slice();
    else this.#fold(this.#widened(source.length), isNothing ? NONE : source);
  }

  value(): Uint8Array {
    const result = this.#result ?? NONE;
    if (this.#name !== 'not') return result;
    eachBlock(result, result, (into) => {
      for (let word = 0; word < into.length; word++) into[word] = ~(into[word] as number);
    });
    return result;
  }

  /** The result with zeros behind it, if it is shorter. */
  #widened(size: number): Uint8Array {
    const result = this.#result ?? NONE;
    if (result.length >= size) return result;
    const wider = new Uint8Array(size);
    wider.set(result);
    this.#result = wider;
    return wider;
  }

  #fold(result: Uint8Array, source: Uint8Array): void {
    if (this.#name === 'and') {
      result.fill(0, source.length);
      eachBlock(result, source, (into, from) => {
        for (let word = 0; word < into.length; word++) (into[word] as number) &= from[word] as number;
      });
    } else if (this.#name === 'or') {
      eachBlock(result, source, (into, from) => {
        for (let word = 0; word < into.length; word++) (into[word] as number) |= from[word] as number;
      });
    } else {
      eachBlock(result, source, (into, from) => {
        for (let word = 0; word < into.length; word++) (into[word] as number) ^= from[word] as number;
      });
    }
  }
}

/**
 * Calls `change` with words of `result`, from its start to where `source` ends, and with the words of `source` that stand there. They are
 * copies on the borders of words, on which a source need not stand; what `change` makes of the first goes back into `result`.
 */
function eachBlock(result: Uint8Array, source: Uint8Array, change: (into: Int32Array, from: Int32Array) => void): void {
  const [into, from] = [new Int32Array(BLOCK_WORDS), new Int32Array(BLOCK_WORDS)];
  const [intoBytes, fromBytes] = [new Uint8Array(into.buffer), new Uint8Array(from.buffer)];
  for (let start = 0; start < source.length; start += intoBytes.length) {
    const end = Math.min(start + intoBytes.length, source.length);
    intoBytes.set(result.subarray(start, end));
    fromBytes.set(source.subarray(start, end));
    change(into, from);
    result.set(end - start < intoBytes.length ? intoBytes.subarray(0, end - start) : intoBytes, start);
  }
}

export const BIT_COMMANDS: readonly CommandSpec[] = [
  writes('setbit', 4, setBit),
  reads('getbit', 3, getBit),
  reads('bitcount', -2, bitCount, []),
  reads('bitpos', -3, bitPosition, []),
  { name: 'bitop', arity: -4, flags: ['write', 'denyoom'], keys: [2, -1, 1], route: 'keys', run: bitOperation },
];
