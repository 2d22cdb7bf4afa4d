/** Keys whatever they hold: existence, type, renaming, copying, moving between databases. */
import {
  type Call,
  type CommandSpec,
  DATABASES,
  DB_OUT_OF_RANGE,
  KvError,
  NO_SUCH_KEY,
  reads,
  SYNTAX_ERROR,
  writes,
} from './command.ts';
import { boundedArgument, integerArgument, integerOf } from './numbers.ts';
import { isSame } from './space.ts';
import { subcommandOf, type Subcommands } from './subcommand.ts';

const SAME_OBJECT = 'ERR source and destination objects are the same';
/** As Redis: longer strings stand in memory of their own. */
const EMBEDDED_BYTES_MAX = 44;

function remove(call: Call): void {
  let removed = 0;
  for (let index = 1; index < call.args.count; index++) {
    const key = call.args.argument(index);
    if (call.space.isHash(key)) {
      call.hash(key).whole.clear();
      removed += 1;
    } else if (call.space.remove(key)) removed += 1;
  }
  call.out.integer(removed);
}

function isThere(call: Call, key: Uint8Array): boolean {
  return call.space.isHash(key) || call.space.has(key);
}

function count(call: Call): void {
  let there = 0;
  for (let index = 1; index < call.args.count; index++) if (isThere(call, call.args.argument(index))) there += 1;
  call.out.integer(there);
}

function type(call: Call): void {
  const key = call.args.argument(1);
  if (call.space.isHash(key)) call.out.simple('hash');
  else call.out.simple(call.space.has(key) ? 'string' : 'none');
}

/** Moves value and time to live. False when the target is there and may not be replaced. */
function move(call: Call, isNewOnly: boolean): boolean {
  const { args, space } = call;
  const from = args.argument(1);
  const to = args.argument(2);
  const stored = space.get(from);
  if (stored === undefined) throw new KvError(NO_SUCH_KEY);
  if (isSame(from, to)) return !isNewOnly;
  const { expiresAtMs } = stored;
  const value = stored.value.slice();
  if (isNewOnly && space.has(to)) return false;
  space.set(to, value, expiresAtMs);
  space.remove(from);
  return true;
}

function rename(call: Call): void {
  move(call, false);
  call.out.ok();
}

function renameNew(call: Call): void {
  call.out.bool(move(call, true));
}

/** The number of a database. */
export function databaseArgument(call: Call, index: number, error: string): number {
  const db = boundedArgument(call, index, -(2 ** 31), 2 ** 31 - 1, error);
  if (db < 0 || db >= DATABASES) throw new KvError(DB_OUT_OF_RANGE);
  return db;
}

const NOT_AN_INTEGER = 'ERR value is not an integer or out of range';

function copy(call: Call): void {
  const { args } = call;
  let db = call.db;
  let isReplacing = false;
  for (let index = 3; index < args.count; index++) {
    const word = args.text(index).toLowerCase();
    if (word === 'replace') isReplacing = true;
    else if (word === 'db' && index + 1 < args.count) {
      index += 1;
      db = databaseArgument(call, index, NOT_AN_INTEGER);
    } else throw new KvError(SYNTAX_ERROR);
  }
  const from = args.argument(1);
  const to = args.argument(2);
  if (db === call.db && isSame(from, to)) throw new KvError(SAME_OBJECT);
  const stored = call.space.get(from);
  if (stored === undefined) return call.out.integer(0);
  const { expiresAtMs } = stored;
  const value = stored.value.slice();
  const target = call.spaceOf(db);
  if (!isReplacing && target.has(to)) return call.out.integer(0);
  target.set(to, value, expiresAtMs);
  call.out.integer(1);
}

/** MOVE: the key has the same owner in every database. */
function moveTo(call: Call): void {
  const key = call.args.argument(1);
  const db = databaseArgument(call, 2, NOT_AN_INTEGER);
  if (db === call.db) throw new KvError(SAME_OBJECT);
  const stored = call.space.get(key);
  if (stored === undefined) return call.out.integer(0);
  const { expiresAtMs } = stored;
  const value = stored.value.slice();
  const target = call.spaceOf(db);
  if (target.has(key)) return call.out.integer(0);
  target.set(key, value, expiresAtMs);
  call.space.remove(key);
  call.out.integer(1);
}

/** OBJECT ENCODING | REFCOUNT | IDLETIME | FREQ key. */
function object(call: Call): void {
  subcommandOf('object', OBJECT, call.args)(call);
}

const OBJECT: Subcommands<(call: Call) => void> = new Map<string, readonly [number, (call: Call) => void]>([
  ['encoding', [3, (call) => aboutKey(call, encodingOf, () => 'hashtable')]],
  [
    'refcount',
    [
      3,
      (call) =>
        aboutKey(
          call,
          () => 1,
          () => 1,
        ),
    ],
  ],
  [
    'idletime',
    [
      3,
      (call) =>
        aboutKey(
          call,
          () => 0,
          () => 0,
        ),
    ],
  ],
  ['freq', [3, (call) => aboutKey(call, noFrequency, noFrequency)]],
  ['help', [2, help]],
]);

function aboutKey(call: Call, tell: (value: Uint8Array) => string | number, tellOfHash: () => string | number): void {
  const { args, out } = call;
  const key = args.argument(2);
  const stored = call.space.isHash(key) ? 'hash' : call.space.get(key);
  if (stored === undefined) return out.nil();
  const told = stored === 'hash' ? tellOfHash() : tell(stored.value);
  if (typeof told === 'number') out.integer(told);
  else out.bulkText(told);
}

function noFrequency(): never {
  throw new KvError(
    'ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between ' +
      'policies at runtime LRU and LFU data will take some time to adjust.',
  );
}

function help({ out }: Call): void {
  const lines = [
    'OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:',
    'ENCODING <key>',
    'FREQ <key>',
    'HELP',
    'IDLETIME <key>',
    'REFCOUNT <key>',
  ];
  out.array(lines.length);
  for (const line of lines) out.simple(line);
}

function encodingOf(value: Uint8Array): string {
  if (integerOf(value) !== undefined) return 'int';
  return value.length <= EMBEDDED_BYTES_MAX ? 'embstr' : 'raw';
}

/** MEMORY USAGE key [SAMPLES n]: bytes of key and value and of what a record costs beside them. */
function memory(call: Call): void {
  subcommandOf('memory', MEMORY, call.args)(call);
}

const MEMORY: Subcommands<(call: Call) => void> = new Map([['usage', [-3, memoryUsage]]]);

function memoryUsage(call: Call): void {
  const { args, out } = call;
  if (args.count > 3) {
    if (args.count !== 5 || args.text(3).toLowerCase() !== 'samples') throw new KvError(SYNTAX_ERROR);
    if (integerArgument(call, 4) < 0n) throw new KvError(SYNTAX_ERROR);
  }
  const key = args.argument(2);
  if (call.space.isHash(key)) return out.integer(RECORD_BYTES + key.length); // its fields are at every worker
  const stored = call.space.get(key);
  if (stored === undefined) out.nil();
  else out.integer(RECORD_BYTES + key.length + stored.value.length);
}

/** Header of a block, its slot and its place in the list. */
const RECORD_BYTES = 96;

export const KEY_COMMANDS: readonly CommandSpec[] = [
  { name: 'del', arity: -2, flags: ['write'], keys: [1, -1, 1], route: 'sum', run: remove },
  { name: 'unlink', arity: -2, flags: ['write', 'fast'], keys: [1, -1, 1], route: 'sum', run: remove },
  { name: 'exists', arity: -2, flags: ['readonly', 'fast'], keys: [1, -1, 1], route: 'sum', run: count },
  { name: 'touch', arity: -2, flags: ['readonly', 'fast'], keys: [1, -1, 1], route: 'sum', run: count },
  reads('type', 2, type),
  { name: 'rename', arity: 3, flags: ['write'], keys: [1, 2, 1], route: 'keys', run: rename },
  { name: 'renamenx', arity: 3, flags: ['write', 'fast'], keys: [1, 2, 1], route: 'keys', run: renameNew },
  { name: 'copy', arity: -3, flags: ['write', 'denyoom'], keys: [1, 2, 1], route: 'keys', run: copy },
  writes('move', 3, moveTo, ['fast']),
  { name: 'object', arity: -2, flags: ['readonly'], keys: [2, 2, 1], route: 'key', run: object },
  { name: 'memory', arity: -2, flags: ['readonly'], keys: [2, 2, 1], route: 'key', run: memory },
];
