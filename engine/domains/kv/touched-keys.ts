/**
 * Which keys and fields a command touches, told from its words alone: what it waits for while others hold keys (held-keys.ts).
 *
 *   SET k v        db0 k                       HSET h f v     db0 h (is it a string?), h f
 *   COPY a b DB 2  a and b of both databases   KEYS, SCAN     everything
 */
import type { RespCommand } from '../../protocol/resp-parser.ts';
import { type CommandSpec, DATABASES, forEachKey, isWrite } from './command.ts';
import { databaseName } from './hash-names.ts';
import { IDENTITY_BYTES_MAX } from './space.ts';

/** A key of a database, or a field of a hash: a record. */
export interface SpaceKey {
  /** Name of the map. */
  readonly space: Uint8Array;
  readonly key: Uint8Array;
}

export interface Touched {
  readonly isWrite: boolean;
  /** All that there is. */
  readonly isEverything: boolean;
  readonly keys: readonly SpaceKey[];
}

/** Their second key stands in a database that an argument names. */
const BETWEEN_DATABASES = new Set(['copy', 'move']);
const latin1 = new TextDecoder('latin1');

/** What names of keys of databases begin with, by the array that is the name of the database everywhere. */
const DATABASE_PREFIXES = new Map(
  Array.from({ length: DATABASES }, (_, db) => databaseName(db)).map((space) => [space, prefixOf(space)]),
);

/** The keys are views of the arguments. Those that are too long to be written are nowhere, and left out. */
export function touchedBy(spec: CommandSpec, args: RespCommand, db: number): Touched {
  const keys: SpaceKey[] = [];
  const touch = (space: Uint8Array, index: number): void => {
    if (Math.max(space.length, args.lengths[index] as number) > IDENTITY_BYTES_MAX) return;
    keys.push({ space, key: args.argument(index) });
  };
  const isEverything = spec.route === 'workers' || spec.route === 'scan';
  if (isEverything) return { isWrite: isWrite(spec), isEverything, keys };
  for (const space of spacesOf(spec, args, db)) {
    forEachKey(spec.keys, args.count, (index) => touch(space, index));
  }
  if (spec.fields !== undefined && args.count > 1) {
    const space = args.argument(1);
    forEachKey(spec.fields, args.count, (index) => touch(space, index));
  }
  return { isWrite: isWrite(spec), isEverything, keys };
}

/** A name of the record, the same for the same record only. */
export function nameOf({ space, key }: SpaceKey): string {
  return (DATABASE_PREFIXES.get(space) ?? prefixOf(space)) + latin1.decode(key);
}

function prefixOf(space: Uint8Array): string {
  return `${space.length} ${latin1.decode(space)}`;
}

function spacesOf({ name }: CommandSpec, args: RespCommand, db: number): Uint8Array[] {
  const databases = new Set([db]);
  if (BETWEEN_DATABASES.has(name)) {
    for (let index = 2; index < args.count; index++) {
      const other = Number(args.text(index));
      if (Number.isInteger(other) && other >= 0 && other < DATABASES) databases.add(other);
    }
  }
  return [...databases].map(databaseName);
}
