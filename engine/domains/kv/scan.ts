/**
 * Commands over all keys that read: KEYS, SCAN, RANDOMKEY, DBSIZE; and the cursor of SCAN and HSCAN.
 *
 *   cursor   partition × 2^33 + position: the records before `position` in the list of that partition are still to come,
 *            FROM_END: all of them. 0 is the beginning, and the end.
 *
 * The list of a partition (storage/dense-list.ts) is walked from its end to its start, and a removal only ever puts the
 * last record into the hole: what is still to come stays before the cursor, or is its own last record. So a key that is there throughout
 * a scan is told at least once, and the server keeps nothing of a scan.
 */
import { matchesGlob, PATTERN_BYTES_MAX } from './glob.ts';
import { type Call, type CommandSpec, KvError, SYNTAX_ERROR } from './command.ts';
import { integerArgument } from './numbers.ts';
import type { KeySpace } from './space.ts';

const PARTITION_UNIT = 2 ** 33;
/** A position before which a whole partition lies. */
export const FROM_END = 2 ** 32;
const CURSOR = /^\d{0,20}$/;
const COUNT_DEFAULT = 10;
/** Records looked at in one SCAN, whatever COUNT says. */
const COUNT_MAX = 100_000;
const EVERYTHING = Uint8Array.of(0x2a);
/** Keys told by one KEYS of one worker. */
const KEYS_MAX = 1_000_000;

export interface ScanPlace {
  readonly partition: number;
  readonly position: number;
}

export function scanPlace(cursor: number): ScanPlace {
  if (cursor === 0) return { partition: 0, position: FROM_END };
  return { partition: Math.floor(cursor / PARTITION_UNIT), position: cursor % PARTITION_UNIT };
}

export function scanCursor(partition: number, position: number): number {
  return partition * PARTITION_UNIT + position;
}

/** The cursor that a text spells. Throws KvError. */
export function cursorOf(text: string): number {
  const cursor = CURSOR.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(cursor)) throw new KvError('ERR invalid cursor');
  return Number.isSafeInteger(cursor) ? cursor : 0;
}

interface ScanOptions {
  readonly count: number;
  readonly pattern: Uint8Array;
  readonly type: string | undefined;
}

function scanOptions(call: Call, from: number, takesType: boolean): ScanOptions {
  const { args } = call;
  let count = COUNT_DEFAULT;
  let pattern: Uint8Array = EVERYTHING;
  let type: string | undefined;
  for (let index = from; index < args.count; index += 2) {
    const word = args.text(index).toLowerCase();
    if (index + 1 >= args.count) throw new KvError(SYNTAX_ERROR);
    if (word === 'count') {
      const given = integerArgument(call, index + 1);
      if (given < 1n) throw new KvError(SYNTAX_ERROR);
      count = Number(given);
    } else if (word === 'match') pattern = patternArgument(call, index + 1);
    else if (word === 'type' && takesType) type = args.text(index + 1).toLowerCase();
    else throw new KvError(SYNTAX_ERROR);
  }
  return { count: Math.min(count, COUNT_MAX), pattern, type };
}

function patternArgument({ args }: Call, index: number): Uint8Array {
  const pattern = args.argument(index);
  if (pattern.length > PATTERN_BYTES_MAX) throw new KvError(`ERR the pattern is longer than ${PATTERN_BYTES_MAX} bytes`);
  return pattern;
}

/** Names of maps, where they are told, come behind the keys of each worker: those that it has records of, all at once. */
export function scanKeys(call: Call, tellsHashes: boolean): void {
  const cursor = cursorOf(call.args.text(1));
  const { count, pattern, type } = scanOptions(call, 2, true);
  const keys: Uint8Array[] = [];
  const next = call.space.whole.scan(cursor, count, (key) => {
    if (matchesGlob(pattern, key)) keys.push(key.slice());
  });
  const told = type === undefined || type === 'string' ? keys : [];
  if (tellsHashes && isWorkersEnd(next) && (type === undefined || type === 'hash')) {
    for (const name of call.hashNames()) if (matchesGlob(pattern, name)) told.push(name);
  }
  call.out.array(2);
  call.out.bulkText(String(next));
  writeKeys(call, told);
}

/** True for the cursors with which a worker says that it has told all that it has. */
function isWorkersEnd(cursor: number): boolean {
  return cursor === 0 || scanPlace(cursor).position === FROM_END;
}

/** HSCAN: as SCAN, over the fields of the hash that `hashOf` finds. */
export function scanPairs(call: Call, hashOf: (call: Call) => KeySpace): void {
  const cursor = cursorOf(call.args.text(2));
  const space = hashOf(call);
  const { count, pattern } = scanOptions(call, 3, false);
  const pairs: Uint8Array[] = [];
  const next = space.whole.scan(cursor, count, (field) => {
    if (!matchesGlob(pattern, field)) return;
    const own = field.slice();
    const stored = space.get(own);
    if (stored !== undefined) pairs.push(own, stored.value.slice());
  });
  call.out.array(2);
  call.out.bulkText(String(next));
  writeKeys(call, pairs);
}

function writeKeys(call: Call, keys: readonly Uint8Array[]): void {
  call.out.array(keys.length);
  for (const key of keys) call.out.bulk(key);
}

export function listKeys(call: Call, tellsHashes: boolean): void {
  const pattern = patternArgument(call, 1);
  const found: Uint8Array[] = [];
  call.space.whole.visitAll((key) => {
    if (matchesGlob(pattern, key)) found.push(key.slice());
    return found.length < KEYS_MAX;
  });
  for (const name of tellsHashes ? call.hashNames() : []) if (matchesGlob(pattern, name)) found.push(name);
  writeKeys(call, found);
}

function randomKey(call: Call): void {
  const key = call.space.whole.random(call.random());
  if (key === undefined) call.out.nil();
  else call.out.bulk(key);
}

const NO_KEYS = [0, 0, 0] as const;

export const SCAN_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'keys',
    arity: 2,
    flags: ['readonly'],
    keys: NO_KEYS,
    route: 'workers',
    merge: 'unique',
    run: (call) => listKeys(call, true),
  },
  { name: 'scan', arity: -2, flags: ['readonly'], keys: NO_KEYS, route: 'scan', run: (call) => scanKeys(call, true) },
  { name: 'randomkey', arity: 1, flags: ['readonly'], keys: NO_KEYS, route: 'workers', merge: 'any', run: randomKey },
  {
    name: 'dbsize',
    arity: 1,
    flags: ['readonly', 'fast'],
    keys: NO_KEYS,
    route: 'workers',
    merge: 'sum',
    run: (call) => call.out.integer(call.space.whole.size),
  },
];
