/** What gateways ask in the form of commands, and clients cannot: their names are refused at the door. */
import { type Call, type CommandSpec, DATABASES } from './command.ts';

/** Per database: its keys, and about how many of them expire. */
function countKeys(call: Call): void {
  call.out.array(2 * DATABASES);
  for (let db = 0; db < DATABASES; db++) {
    const { size, expiring } = call.spaceOf(db).whole;
    call.out.integer(size);
    call.out.integer(expiring);
  }
}

/** WATCH: the version of a key. */
function version(call: Call): void {
  call.out.bulkText(call.versionOf(call.args.argument(1)));
}

/** EXEC: 1 while a watched key has the version that it had. */
function unchanged(call: Call): void {
  call.out.bool(call.versionOf(call.args.argument(1)) === call.args.text(2));
}

function internal(name: string, arity: number, run: (call: Call) => void): CommandSpec {
  return { name, arity, flags: ['readonly'], keys: [1, 1, 1], route: 'key', isInternal: true, run };
}

/** What the version of a key that is the name of a map begins with. */
export const HASH_VERSION = 'hash ';

export function isHashVersion(version: string): boolean {
  return version.startsWith(HASH_VERSION);
}

export const UNCHANGED = 'unchanged';

export const INTERNAL_COMMANDS: readonly CommandSpec[] = [
  { ...internal('keyspace', 1, countKeys), keys: [0, 0, 0], route: 'workers' },
  internal('version', 2, version),
  internal(UNCHANGED, 3, unchanged),
];
