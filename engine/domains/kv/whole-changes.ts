/**
 * FLUSHDB, FLUSHALL, SWAPDB: changes of whole databases, each partition by itself.
 *
 *   clear 0 1 …   removes all keys of these databases        swap 0 1   exchanges the keys of two
 *
 * What is done to a partition follows from what is in it, so that several workers do one change together (whole-acts.ts), and one that
 * was interrupted can be carried on.
 */
import { assert } from '../../assert.ts';
import type { RespCommand } from '../../protocol/resp-parser.ts';
import { type Call, type CommandSpec, DATABASES, DB_OUT_OF_RANGE, KvError, SYNTAX_ERROR } from './command.ts';
import { databaseName } from './hash-names.ts';
import { boundedArgument } from './numbers.ts';

export interface WholeChange {
  readonly kind: 'clear' | 'swap';
  /** Of `swap` two, or none. */
  readonly databases: readonly number[];
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const latin1 = new TextDecoder('latin1');
const ALL = Array.from({ length: DATABASES }, (_, db) => db);
const CHANGERS = new Set(['flushdb', 'flushall', 'swapdb']);

/** True for a command that changes databases as wholes. */
export function changesWholes({ name }: CommandSpec): boolean {
  return CHANGERS.has(name);
}

/** What such a command is to change. Throws KvError. */
export function wholeChangeOf(name: string, args: RespCommand, db: number): WholeChange {
  if (name === 'swapdb') return { kind: 'swap', databases: swapped(args) };
  checkMode(args);
  return { kind: 'clear', databases: name === 'flushall' ? ALL : [db] };
}

export function encodeChange({ kind, databases }: WholeChange): Uint8Array {
  return encoder.encode([kind, ...databases].join(' '));
}

export function decodeChange(bytes: Uint8Array): WholeChange {
  const [kind, ...numbers] = decoder.decode(bytes).split(' ');
  assert(kind === 'clear' || kind === 'swap', `a change of databases called ${kind}`);
  return { kind, databases: numbers.map(Number) };
}

/** Names of the maps that change. */
export function changedMaps({ databases }: WholeChange): Uint8Array[] {
  return databases.map(databaseName);
}

/** Makes the change, as far as `call` reaches; what is to be swapped is read before anything is written. */
export function runChange({ kind, databases }: WholeChange, call: Pick<Call, 'spaceOf'>): void {
  const [first, second] = databases;
  if (kind === 'clear') for (const db of databases) call.spaceOf(db).whole.clear();
  else if (first !== undefined && second !== undefined) swapSpaces(call, first, second);
}

function checkMode(args: RespCommand): void {
  if (args.count === 1) return;
  const word = args.text(1).toLowerCase();
  if (args.count > 2 || (word !== 'async' && word !== 'sync')) throw new KvError(SYNTAX_ERROR);
}

function swapped(args: RespCommand): readonly number[] {
  const first = boundedArgument({ args }, 1, -(2 ** 31), 2 ** 31 - 1, 'ERR invalid first DB index');
  const second = boundedArgument({ args }, 2, -(2 ** 31), 2 ** 31 - 1, 'ERR invalid second DB index');
  if (first < 0 || first >= DATABASES || second < 0 || second >= DATABASES) throw new KvError(DB_OUT_OF_RANGE);
  return first === second ? [] : [first, second];
}

/** Keys are copied over: an older record must not come back by a merge. */
function swapSpaces(call: Pick<Call, 'spaceOf'>, first: number, second: number): void {
  const firstKeys = copyOf(call, first);
  const secondKeys = copyOf(call, second);
  for (const [from, keysOfIt] of [
    [first, firstKeys],
    [second, secondKeys],
  ] as const) {
    const to = call.spaceOf(from === first ? second : first);
    const replaced = from === first ? secondKeys : firstKeys;
    const names = new Set(keysOfIt.map(({ name }) => name));
    for (const { key, value, expiresAtMs } of keysOfIt) to.set(key, value, expiresAtMs);
    for (const { key, name } of replaced) if (!names.has(name)) to.remove(key);
  }
}

interface CopiedKey {
  readonly key: Uint8Array;
  readonly name: string;
  readonly value: Uint8Array;
  readonly expiresAtMs: number;
}

function copyOf(call: Pick<Call, 'spaceOf'>, db: number): CopiedKey[] {
  const space = call.spaceOf(db);
  const copied: CopiedKey[] = [];
  space.whole.visitAll((key) => {
    const own = key.slice();
    const stored = space.get(own);
    if (stored !== undefined) {
      const { expiresAtMs } = stored;
      copied.push({ key: own, name: latin1.decode(own), value: stored.value.slice(), expiresAtMs });
    }
    return true;
  });
  return copied;
}

function run(call: Call): void {
  call.change(wholeChangeOf(call.name, call.args, call.db));
  call.out.ok();
}

const NO_KEYS = [0, 0, 0] as const;

export const WHOLE_COMMANDS: readonly CommandSpec[] = [
  { name: 'flushdb', arity: -1, flags: ['write'], keys: NO_KEYS, route: 'workers', merge: 'first', run },
  { name: 'flushall', arity: -1, flags: ['write'], keys: NO_KEYS, route: 'workers', merge: 'first', run },
  { name: 'swapdb', arity: 3, flags: ['write', 'fast'], keys: NO_KEYS, route: 'workers', merge: 'first', run },
];
