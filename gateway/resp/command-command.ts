/** COMMAND: what commands there are, from the table itself. */
import { type CommandSpec, forEachKey, KvError } from '../../engine/domains/kv/command.ts';
import { WORKER_COMMANDS } from '../../engine/domains/kv/commands.ts';
import { matchesGlob } from '../../engine/domains/kv/glob.ts';
import { subcommandOf, type Subcommands } from '../../engine/domains/kv/subcommand.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';

const encoder = new TextEncoder();
const PATTERN_BYTES_MAX = 4096;
/** Of commands asked for at once; there are some hundred. */
const NAMES_MAX = 1000;

/** Throws KvError for a pattern that is too long to be compared with every name. */
export function assertPattern(pattern: Uint8Array): void {
  if (pattern.length > PATTERN_BYTES_MAX) throw new KvError(`ERR a pattern has at most ${PATTERN_BYTES_MAX} bytes`);
}

/** @param own commands of the connection. */
export function commandCommand(own: Iterable<CommandSpec>, args: RespCommand, out: RespWriter): void {
  const all = [...WORKER_COMMANDS, ...own].filter(({ isInternal }) => isInternal !== true);
  if (args.count === 1) return writeInfos(all, out);
  subcommandOf('command', SUBCOMMANDS, args)(all, args, out);
}

type Subcommand = (all: readonly CommandSpec[], args: RespCommand, out: RespWriter) => void;

const SUBCOMMANDS: Subcommands<Subcommand> = new Map<string, readonly [number, Subcommand]>([
  ['count', [2, (all, _args, out) => out.integer(all.length)]],
  ['info', [-2, (all, args, out) => writeInfos(namedSpecs(all, args), out)]],
  ['docs', [-2, (all, args, out) => writeDocs(namedSpecs(all, args), out)]],
  ['list', [-2, list]],
  ['getkeys', [-4, (all, args, out) => getKeys(specOf(all, args.text(2)), args, out)]],
]);

function specOf(all: readonly CommandSpec[], name: string): CommandSpec | undefined {
  return all.find((spec) => spec.name === name.toLowerCase());
}

/** Those that are named, or all. */
function namedSpecs(all: readonly CommandSpec[], args: RespCommand): readonly (CommandSpec | undefined)[] {
  return args.count === 2 ? all : namesFrom(args, 2).map((name) => specOf(all, name));
}

function namesFrom(args: RespCommand, first: number): string[] {
  if (args.count - first > NAMES_MAX) throw new KvError(`ERR at most ${NAMES_MAX} commands can be asked for at once`);
  const names: string[] = [];
  for (let index = first; index < args.count; index++) names.push(args.text(index));
  return names;
}

function writeInfos(specs: readonly (CommandSpec | undefined)[], out: RespWriter): void {
  out.array(specs.length);
  for (const spec of specs) {
    if (spec === undefined) {
      out.nil();
      continue;
    }
    out.array(10);
    out.bulkText(spec.name);
    out.integer(spec.arity);
    out.set(spec.flags.length);
    for (const flag of spec.flags) out.simple(flag);
    for (const place of spec.keys) out.integer(place);
    out.set(0); // ACL categories: there is no ACL
    out.array(0); // tips
    out.array(0); // key specifications: first, last and step say it all
    out.array(0); // subcommands
  }
}

function writeDocs(specs: readonly (CommandSpec | undefined)[], out: RespWriter): void {
  const known = specs.filter((spec) => spec !== undefined);
  out.map(known.length);
  for (const spec of known) {
    out.bulkText(spec.name);
    out.map(2);
    out.bulkText('group');
    out.bulkText(groupOf(spec));
    out.bulkText('arity');
    out.integer(spec.arity);
  }
}

function groupOf({ route, name }: CommandSpec): string {
  if (route === 'gateway') return 'connection';
  if (name.startsWith('h')) return 'hash';
  return route === 'key' || route === 'keys' ? 'string' : 'generic';
}

function list(all: readonly CommandSpec[], args: RespCommand, out: RespWriter): void {
  let names = all.map(({ name }) => name);
  if (args.count > 2) {
    if (args.count !== 5 || args.text(2).toLowerCase() !== 'filterby') throw new KvError('ERR syntax error');
    const kind = args.text(3).toLowerCase();
    if (kind === 'pattern') {
      const pattern = args.argument(4);
      assertPattern(pattern);
      names = names.filter((name) => matchesGlob(pattern, encoder.encode(name)));
    } else if (kind === 'module' || kind === 'aclcat') names = [];
    else throw new KvError('ERR syntax error');
  }
  out.array(names.length);
  for (const name of names) out.bulkText(name);
}

function getKeys(spec: CommandSpec | undefined, args: RespCommand, out: RespWriter): void {
  if (spec === undefined) throw new KvError('ERR Invalid command specified');
  const count = args.count - 2;
  if (spec.arity >= 0 ? count !== spec.arity : count < -spec.arity) {
    throw new KvError('ERR Invalid number of arguments specified for command');
  }
  if (spec.keys[0] === 0) throw new KvError('ERR The command has no key arguments');
  const keys: Uint8Array[] = [];
  forEachKey(spec.keys, count, (index) => keys.push(args.argument(index + 2)));
  out.array(keys.length);
  for (const key of keys) out.bulk(key);
}
