/** CONFIG: what of the server's options has a name in Redis. Only the slow log can be changed while it runs. */
import { DATABASES, KvError } from '../../engine/domains/kv/command.ts';
import { matchesGlob } from '../../engine/domains/kv/glob.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import { subcommandOf, type Subcommands } from '../../engine/domains/kv/subcommand.ts';
import { VALUE_BYTES_MAX } from '../../engine/domains/kv/space.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import { assertPattern } from './command-command.ts';
import type { RespConnection } from './resp-connection.ts';
import type { RespContext } from './resp-context.ts';

const encoder = new TextEncoder();
const PATTERNS_MAX = 100;

function valuesOf({ config, slowLog, facts }: RespContext): Map<string, string> {
  return new Map([
    ['appendfsync', config.walFsync === 'always' ? 'always' : 'everysec'],
    ['appendonly', config.wal && config.store === 'write-behind' ? 'yes' : 'no'],
    ['bind', config.host],
    ['databases', String(DATABASES)],
    ['maxclients', String(config.maxSessions)],
    ['maxmemory', String(facts.memoryMaxBytes())],
    ['maxmemory-policy', 'noeviction'],
    ['port', String(config.respPort)],
    ['proto-max-bulk-len', String(VALUE_BYTES_MAX)],
    ['save', ''],
    ['slowlog-log-slower-than', String(slowLog.thresholdMicros)],
    ['slowlog-max-len', String(slowLog.lengthMax)],
    ['timeout', '0'],
  ]);
}

export function configCommand(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  subcommandOf('config', SUBCOMMANDS, args)(connection, args, out);
}

type Subcommand = (connection: RespConnection, args: RespCommand, out: RespWriter) => void;

const SUBCOMMANDS: Subcommands<Subcommand> = new Map<string, readonly [number, Subcommand]>([
  ['get', [-3, get]],
  ['set', [-4, set]],
  ['resetstat', [2, resetStatistics]],
  ['rewrite', [2, rewrite]],
]);

function resetStatistics(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  connection.assertAdmin('config|resetstat');
  connection.context.slowLog.clear();
  out.ok();
}

function rewrite(): never {
  throw new KvError('ERR The server is running without a config file');
}

function get({ context }: RespConnection, args: RespCommand, out: RespWriter): void {
  if (args.count - 2 > PATTERNS_MAX) throw new KvError(`ERR at most ${PATTERNS_MAX} patterns can be asked for at once`);
  const patterns: Uint8Array[] = [];
  for (let index = 2; index < args.count; index++) {
    assertPattern(args.argument(index));
    patterns.push(encoder.encode(args.text(index).toLowerCase()));
  }
  const found = new Map<string, string>();
  for (const [name, value] of valuesOf(context)) {
    if (patterns.some((pattern) => matchesGlob(pattern, encoder.encode(name)))) found.set(name, value);
  }
  out.map(found.size);
  for (const [name, value] of found) {
    out.bulkText(name);
    out.bulkText(value);
  }
}

/** All of them, or none. */
function set(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  const { context } = connection;
  connection.assertAdmin('config|set');
  const changes = new Map<string, () => void>();
  for (let index = 2; index < args.count; index += 2) {
    const name = args.text(index).toLowerCase();
    if (changes.has(name)) throw notSet(name, 'duplicate parameter');
    const value = index + 1 < args.count ? integerOf(args.argument(index + 1)) : undefined;
    const isNumber = typeof value === 'number' && value >= -1;
    if (name === 'slowlog-log-slower-than' && isNumber) {
      changes.set(name, () => {
        context.slowLog.thresholdMicros = value;
      });
    } else if (name === 'slowlog-max-len' && isNumber && value >= 0 && value <= SLOW_LOG_MAX) {
      changes.set(name, () => {
        context.slowLog.lengthMax = value;
      });
    } else if (name.startsWith('slowlog-')) {
      throw notSet(name, value === undefined ? "argument couldn't be parsed into an integer" : 'argument is out of range');
    } else if (valuesOf(context).has(name)) {
      throw notSet(name, "can't set immutable config");
    } else throw new KvError(`ERR Unknown option or number of arguments for CONFIG SET - '${args.text(index)}'`);
  }
  for (const change of changes.values()) change();
  out.ok();
}

function notSet(name: string, why: string): KvError {
  return new KvError(`ERR CONFIG SET failed (possibly related to argument '${name}') - ${why}`);
}

const SLOW_LOG_MAX = 10_000;
