/**
 * A command of the Redis protocol as data: what it is called, how many arguments it takes, where its keys stand, and what
 * it does with them. The families (strings.ts, keys.ts, hashes.ts, …) are lists of these.
 *
 *   gateway   name → spec: arity, flags, keys → which workers
 *   worker    spec.run(call): reads and writes keys through `call.space`, writes one reply to `call.out`
 *
 * `run` reads all that it needs before it writes anything: a value that must be read back first (space.ts, ValueAway) sends the
 * whole command round again.
 */
import type { RespCommand } from '../../protocol/resp-parser.ts';
import type { RespWriter } from '../../protocol/resp-writer.ts';
import type { KeySpace } from './space.ts';
import type { WholeChange } from './whole-changes.ts';

/** Databases of `SELECT`: the maps `db0` to `db15`. */
export const DATABASES = 16;

/**
 * Where a command is run.
 *
 *   gateway   by the connection itself
 *   key       by the owner of its keys, of which there is one, or all are the same
 *   keys      as `key` where all keys have one owner; else the workers act together (multi-key commit)
 *   sum       by the owner of each key for itself; the replies are added
 *   workers   by every worker for its part; `merge` says how the replies become one
 *   scan      by the owner of the partition that the cursor stands in
 *   field     by the owner of a hash's field; `fields`: by the owner of each field
 */
export type Route = 'gateway' | 'key' | 'keys' | 'sum' | 'workers' | 'scan' | 'field' | 'fields';

/** How the replies of several workers become one: added, any of them, lists behind one another, the same without repeats, any that is not null, in the order of fields. */
export type Merge = 'sum' | 'first' | 'concat' | 'unique' | 'any' | 'slots';

export interface CommandSpec {
  /** Lower case. */
  readonly name: string;
  /** Arguments with the name; negative: at least so many. */
  readonly arity: number;
  /** As COMMAND INFO names them. */
  readonly flags: readonly string[];
  /** First key, last key (negative: from the end) and step, as COMMAND INFO has them; 0 = no keys. */
  readonly keys: readonly [first: number, last: number, step: number];
  readonly route: Route;
  readonly merge?: Merge;
  /** Where the fields of a hash command stand, as `keys`. */
  readonly fields?: readonly [first: number, last: number, step: number];
  /** Asked by the server itself, and unknown to clients. */
  readonly isInternal?: true;
  /** Runs on a worker. Throws KvError for what the client is told. */
  readonly run?: (call: Call) => void;
}

/** One command at a worker. Reused for the next one. */
export interface Call {
  readonly args: RespCommand;
  readonly name: string;
  readonly out: RespWriter;
  /** The clock, ms. */
  readonly nowMs: number;
  readonly db: number;
  /** Keys of the database at hand. */
  readonly space: KeySpace;
  spaceOf(db: number): KeySpace;
  /** A map as a hash, whether or not it is there: what this worker has of it. */
  hash(name: Uint8Array): KeySpace;
  /** Changes databases as wholes. Throws KvError before anything is done. */
  change(change: WholeChange): void;
  /** Changes whenever somebody writes the key of the database at hand. */
  versionOf(key: Uint8Array): string;
  /** Names of the maps with live records on this worker, without those of databases. */
  hashNames(): Uint8Array[];
  /** From [0, 1). */
  random(): number;
}

/** What the client is told instead of a reply: a code in capitals and a text. */
export class KvError extends Error {
  override readonly name = 'KvError';
}

export const SYNTAX_ERROR = 'ERR syntax error';
export const NOT_AN_INTEGER = 'ERR value is not an integer or out of range';
export const WRONG_TYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value';
export const DB_OUT_OF_RANGE = 'ERR DB index is out of range';
export const NO_SUCH_KEY = 'ERR no such key';

export function wrongArguments(name: string): string {
  return `ERR wrong number of arguments for '${name}' command`;
}

/** A command with one key at position 1 that reads. */
export function reads(name: string, arity: number, run: (call: Call) => void, flags: readonly string[] = ['fast']): CommandSpec {
  return { name, arity, flags: ['readonly', ...flags], keys: [1, 1, 1], route: 'key', run };
}

/** A command with one key at position 1 that writes. */
export function writes(
  name: string,
  arity: number,
  run: (call: Call) => void,
  flags: readonly string[] = ['denyoom'],
): CommandSpec {
  return { name, arity, flags: ['write', ...flags], keys: [1, 1, 1], route: 'key', run };
}

export function isWrite(spec: CommandSpec): boolean {
  return spec.flags.includes('write');
}

/** Calls `visit` with the index of every key among `count` arguments. */
export function forEachKey(
  [first, last, step]: readonly [first: number, last: number, step: number],
  count: number,
  visit: (index: number) => void,
): void {
  if (first === 0) return;
  const end = last < 0 ? count + last : last;
  for (let index = first; index <= end && index < count; index += step) visit(index);
}

export function hasArity(spec: CommandSpec, count: number): boolean {
  return spec.arity >= 0 ? count === spec.arity : count >= -spec.arity;
}
