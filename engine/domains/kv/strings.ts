/** Strings: GET, SET and all that reads or writes parts of a value. */
import { type Call, type CommandSpec, KvError, reads, SYNTAX_ERROR, writes, wrongArguments } from './command.ts';
import { futureArgument, type TimeUnit, UNITS } from './deadlines.ts';
import { indexArgument } from './numbers.ts';
import { TOO_LONG, VALUE_BYTES_MAX } from './space.ts';

const NONE = new Uint8Array(0);

function get(call: Call): void {
  const stored = call.space.at(call.args, 1);
  if (stored === undefined) call.out.nil();
  else call.out.bulk(stored.source, stored.start, stored.length);
}

/** Writes argument `valueIndex` under the key that is argument `keyIndex`, for ever. */
function putArgument({ space, args }: Call, keyIndex: number, valueIndex: number): void {
  space.put(args, keyIndex, args.bytes, args.starts[valueIndex] as number, args.lengths[valueIndex] as number, Number.NaN);
}

interface SetOptions {
  readonly nx: boolean;
  readonly xx: boolean;
  readonly get: boolean;
  readonly keepTtl: boolean;
  readonly expiresAtMs: number;
}

/** After Redis' parseExtendedStringArgumentsOrReply: which words exclude which. */
function setOptions(call: Call): SetOptions {
  const { args } = call;
  const found = { nx: false, xx: false, get: false, keepTtl: false };
  let unit: TimeUnit | undefined;
  let at = 0;
  for (let index = 3; index < args.count; index++) {
    const word = args.text(index).toLowerCase();
    const named = UNITS.get(word);
    if (word === 'nx' && !found.xx) found.nx = true;
    else if (word === 'xx' && !found.nx) found.xx = true;
    else if (word === 'get') found.get = true;
    else if (word === 'keepttl' && unit === undefined) found.keepTtl = true;
    else if (named !== undefined && (unit ?? named) === named && !found.keepTtl && index + 1 < args.count) {
      unit = named;
      index += 1;
      at = index;
    } else throw new KvError(SYNTAX_ERROR);
  }
  return { ...found, expiresAtMs: unit === undefined ? Number.NaN : futureArgument(call, at, unit) };
}

function set(call: Call): void {
  const { args, space, out } = call;
  if (args.count === 3) {
    putArgument(call, 1, 2);
    return out.ok();
  }
  const options = setOptions(call);
  const key = args.argument(1);
  const value = args.argument(2);
  const stored = options.get || options.nx || options.xx || options.keepTtl ? space.get(key) : undefined;
  const isThere = stored !== undefined;
  const expiresAtMs = options.keepTtl && isThere ? stored.expiresAtMs : options.expiresAtMs;
  if (options.get) {
    if (isThere) out.bulk(stored.value);
    else out.nil();
  }
  if ((options.nx && isThere) || (options.xx && !isThere)) {
    if (!options.get) out.nil();
    return;
  }
  space.set(key, value, expiresAtMs);
  if (!options.get) out.ok();
}

/** True where a string or a hash stands under the key that is an argument. */
function isTaken({ space, args }: Call, index: number): boolean {
  const key = args.argument(index);
  return space.isHash(key) || space.has(key);
}

function setNew(call: Call): void {
  if (isTaken(call, 1)) return call.out.integer(0);
  putArgument(call, 1, 2);
  call.out.integer(1);
}

function setWithExpiry(call: Call, unit: string): void {
  const named = UNITS.get(unit);
  if (named === undefined) throw new KvError(SYNTAX_ERROR);
  const expiresAtMs = futureArgument(call, 2, named);
  call.space.set(call.args.argument(1), call.args.argument(3), expiresAtMs);
  call.out.ok();
}

function getSet(call: Call): void {
  get(call);
  putArgument(call, 1, 2);
}

function getDelete(call: Call): void {
  get(call);
  call.space.remove(call.args.argument(1));
}

function multiGet(call: Call): void {
  const { args, out } = call;
  out.array(args.count - 1);
  for (let index = 1; index < args.count; index++) {
    const stored = call.space.isHash(args.argument(index)) ? undefined : call.space.at(args, index);
    if (stored === undefined) out.nil();
    else out.bulk(stored.source, stored.start, stored.length);
  }
}

function multiSet(call: Call): void {
  const { args } = call;
  if (args.count % 2 === 0) throw new KvError(wrongArguments(call.name));
  call.space.putPairs(args, 1);
  call.out.ok();
}

function multiSetNew(call: Call): void {
  const { args } = call;
  if (args.count % 2 === 0) throw new KvError(wrongArguments(call.name));
  for (let index = 1; index < args.count; index += 2) {
    if (isTaken(call, index)) return call.out.integer(0);
  }
  call.space.putPairs(args, 1);
  call.out.integer(1);
}

function append(call: Call): void {
  const key = call.args.argument(1);
  const tail = call.args.argument(2);
  const stored = call.space.get(key);
  const head = stored?.value ?? NONE;
  if (head.length + tail.length > VALUE_BYTES_MAX) throw new KvError(TOO_LONG);
  const value = new Uint8Array(head.length + tail.length);
  value.set(head);
  value.set(tail, head.length);
  call.space.set(key, value, stored?.expiresAtMs ?? Number.NaN);
  call.out.integer(value.length);
}

function length(call: Call): void {
  call.out.integer(call.space.at(call.args, 1)?.length ?? 0);
}

/** The range that start and end name in a string of `size` bytes, both included; from > to when it is empty. */
export function rangeOf(start: number, end: number, size: number): readonly [from: number, to: number] {
  if (start < 0 && end < 0 && start > end) return [0, -1];
  const from = Math.max(0, start < 0 ? size + start : start);
  const to = Math.max(0, end < 0 ? size + end : end);
  return [from, Math.min(to, size - 1)];
}

function getRange(call: Call): void {
  const start = indexArgument(call, 2);
  const end = indexArgument(call, 3);
  const value = call.space.get(call.args.argument(1))?.value ?? NONE;
  const [from, to] = rangeOf(start, end, value.length);
  call.out.bulk(value.length === 0 || from > to ? NONE : value.subarray(from, to + 1));
}

function setRange(call: Call): void {
  const offset = indexArgument(call, 2);
  if (offset < 0) throw new KvError('ERR offset is out of range');
  const key = call.args.argument(1);
  const part = call.args.argument(3);
  const stored = call.space.get(key);
  const old = stored?.value ?? NONE;
  if (part.length === 0) return call.out.integer(old.length);
  if (offset + part.length > VALUE_BYTES_MAX) throw new KvError(TOO_LONG);
  const value = new Uint8Array(Math.max(old.length, offset + part.length));
  value.set(old);
  value.set(part, offset);
  call.space.set(key, value, stored?.expiresAtMs ?? Number.NaN);
  call.out.integer(value.length);
}

const FAST = ['fast'];

export const STRING_COMMANDS: readonly CommandSpec[] = [
  reads('get', 2, get),
  writes('set', -3, set),
  writes('setnx', 3, setNew, ['denyoom', 'fast']),
  writes('setex', 4, (call) => setWithExpiry(call, 'ex')),
  writes('psetex', 4, (call) => setWithExpiry(call, 'px')),
  writes('getset', 3, getSet, ['denyoom', 'fast']),
  writes('getdel', 2, getDelete, FAST),
  { name: 'mget', arity: -2, flags: ['readonly', 'fast'], keys: [1, -1, 1], route: 'keys', merge: 'slots', run: multiGet },
  { name: 'mset', arity: -3, flags: ['write', 'denyoom'], keys: [1, -1, 2], route: 'keys', run: multiSet },
  { name: 'msetnx', arity: -3, flags: ['write', 'denyoom'], keys: [1, -1, 2], route: 'keys', run: multiSetNew },
  writes('append', 3, append, ['denyoom', 'fast']),
  reads('strlen', 2, length),
  reads('getrange', 4, getRange, []),
  writes('setrange', 4, setRange),
];
