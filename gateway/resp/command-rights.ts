/**
 * What a command may touch for a subject with policies: asked before it is run, by the names of maps alone.
 *
 *   GET, SET, DEL, …      the map of the database at hand, `db0` to `db15`
 *   HGET, HSET, …         the map that is the hash
 *   COPY, MOVE, SWAPDB    the maps of both databases          FLUSHALL   of all
 *
 * Workers run commands without a look at rules about rows: a map of which the subject sees some rows or fields only is closed to
 * it here. A reply tells what was there, so a write needs the right to read, too. Names of maps are keys of every database:
 * guarded subjects do not get them told, and cannot empty a map by DEL unless they may remove all of it (plain-commands.ts).
 */
import { DATABASES, forEachKey, isWrite, type CommandSpec } from '../../engine/domains/kv/command.ts';
import { WORKER_COMMANDS } from '../../engine/domains/kv/commands.ts';
import { PLAIN_COMMANDS } from '../../engine/domains/kv/plain-commands.ts';
import type { SpaceKey } from '../../engine/domains/kv/touched-keys.ts';
import type { Action } from '../../engine/domains/security/access.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import { decisionOf, type SessionAccess } from '../subject-access.ts';
import type { CommandRouter, WorkerCommand } from './command-router.ts';

const DATABASE_MAPS = Array.from({ length: DATABASES }, (_, db) => `db${db}`);
const READING: readonly Action[] = ['read'];
const WRITING: readonly Action[] = ['read', 'write'];
const REMOVING: readonly Action[] = ['read', 'remove'];
const MOVING: readonly Action[] = ['read', 'write', 'remove'];
const ACTIONS: ReadonlyMap<string, readonly Action[]> = new Map([
  ...['del', 'del plain', 'unlink', 'unlink plain', 'getdel', 'hdel', 'flushdb', 'flushall'].map(
    (name) => [name, REMOVING] as const,
  ),
  ...['rename', 'renamenx', 'move', 'swapdb'].map((name) => [name, MOVING] as const),
]);
const PLAIN: ReadonlyMap<string, WorkerCommand> = new Map(
  Object.entries(PLAIN_COMMANDS).map(([name, spec]) => [name, { number: WORKER_COMMANDS.indexOf(spec), spec }]),
);

/** The first map that the subject may not use so; undefined when it may run the command. */
export function forbiddenMap(access: SessionAccess, spec: CommandSpec, args: RespCommand, db: number): string | undefined {
  if (access.guard === undefined) return undefined;
  const actions = ACTIONS.get(spec.name) ?? (isWrite(spec) ? WRITING : READING);
  return mapsOf(spec, args, db).find((map) => !mayAll(access, actions, map));
}

/** The command as the subject gets it. */
export function commandFor(
  access: SessionAccess,
  command: WorkerCommand | undefined,
  args: RespCommand,
): WorkerCommand | undefined {
  if (command === undefined || access.guard === undefined) return command;
  const plain = PLAIN.get(command.spec.name);
  if (plain === undefined || mayAllMaps(access, command.spec, args)) return command;
  return plain;
}

export function noPermission(command: string, map: string): string {
  return `NOPERM this user has no permissions to run the '${command}' command on the map '${map}'`;
}

/** True for a database of which nothing is hidden from the subject. */
export function seesDatabase(access: SessionAccess, db: number): boolean {
  return mayAll(access, READING, DATABASE_MAPS[db] ?? '');
}

/** Those of the keys that may be names of maps which are hidden from the subject; which are is asked of workers (transaction.ts). */
export function mayBeHidden<Key extends SpaceKey>(
  access: SessionAccess,
  router: CommandRouter,
  keys: readonly Key[],
): readonly Key[] {
  if (access.guard === undefined) return [];
  return keys.filter((key) => router.mayNameMap(key) && !mayAll(access, READING, decoder.decode(key.key)));
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Were the keys of the command names of maps, the subject might remove those, or read them where that is all. */
function mayAllMaps(access: SessionAccess, spec: CommandSpec, args: RespCommand): boolean {
  const { keys } = spec;
  const actions = isWrite(spec) ? REMOVING : READING;
  let isMay = keys[0] > 0;
  forEachKey(keys, args.count, (index) => {
    isMay &&= mayAll(access, actions, args.text(index));
  });
  return isMay;
}

function mayAll(access: SessionAccess, actions: readonly Action[], map: string): boolean {
  return actions.every((action) => decisionOf(access, action, map) === 'allow');
}

function mapsOf({ name }: CommandSpec, args: RespCommand, db: number): readonly string[] {
  if (name.startsWith('h')) return [args.text(1)];
  if (name === 'flushall') return DATABASE_MAPS;
  if (name === 'swapdb') return [databaseAt(args, 1), databaseAt(args, 2)];
  const own = DATABASE_MAPS[db] ?? '';
  if (name === 'move') return [own, databaseAt(args, 2)];
  return name === 'copy' ? [own, ...copyTargets(args)] : [own];
}

/** Every word behind a DB of COPY: what else it may say does no harm. */
function copyTargets(args: RespCommand): string[] {
  const targets: string[] = [];
  for (let index = 3; index + 1 < args.count; index++)
    if (args.text(index).toLowerCase() === 'db') targets.push(databaseAt(args, index + 1));
  return targets;
}

/** What is no number of a database is told so by the worker, when the rest is allowed. */
function databaseAt(args: RespCommand, index: number): string {
  const db = Number(args.text(index));
  return DATABASE_MAPS[db] ?? 'db0';
}
