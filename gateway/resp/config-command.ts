/** CONFIG: what of the server's options has a name in Redis. Only the slow log can be changed while it runs. */
import { DATABASES, KvError } from '../../engine/domains/kv/command.ts';
import { matchesGlob } from '../../engine/domains/kv/glob.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import { VALUE_BYTES_MAX } from '../../engine/domains/kv/space.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RespConnection } from './resp-connection.ts';
import type { RespContext } from './resp-context.ts';

const encoder = new TextEncoder();

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
  const word = args.text(1).toLowerCase();
  if (word === 'get' && args.count > 2) get(connection, args, out);
  else if (word === 'set' && args.count > 3) set(connection, args, out);
  else if (word === 'get' || word === 'set') throw new KvError(`ERR wrong number of arguments for 'config|${word}' command`);
  else if (word === 'resetstat') {
    connection.context.slowLog.clear();
    out.ok();
  } else if (word === 'rewrite') throw new KvError('ERR The server is running without a config file');
  else throw new KvError(`ERR unknown subcommand '${args.text(1)}'. Try CONFIG HELP.`);
}

function get({ context }: RespConnection, args: RespCommand, out: RespWriter): void {
  const found = new Map<string, string>();
  for (const [name, value] of valuesOf(context)) {
    for (let index = 2; index < args.count; index++) {
      if (matchesGlob(encoder.encode(args.text(index).toLowerCase()), encoder.encode(name))) found.set(name, value);
    }
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
  if (!connection.isAdmin) throw new KvError("NOPERM this user has no permissions to run the 'config|set' command");
  const changes: (() => void)[] = [];
  for (let index = 2; index < args.count; index += 2) {
    const name = args.text(index).toLowerCase();
    const value = index + 1 < args.count ? integerOf(args.argument(index + 1)) : undefined;
    const isNumber = typeof value === 'number' && value >= -1;
    if (name === 'slowlog-log-slower-than' && isNumber) {
      changes.push(() => {
        context.slowLog.thresholdMicros = value;
      });
    } else if (name === 'slowlog-max-len' && isNumber && value >= 0 && value <= SLOW_LOG_MAX) {
      changes.push(() => {
        context.slowLog.lengthMax = value;
      });
    } else if (name.startsWith('slowlog-')) {
      throw new KvError(`ERR CONFIG SET failed (possibly related to argument '${name}') - argument must be a number`);
    } else if (valuesOf(context).has(name)) {
      throw new KvError(`ERR CONFIG SET failed (possibly related to argument '${name}') - can't set immutable config`);
    } else throw new KvError(`ERR Unknown option or number of arguments for CONFIG SET - '${args.text(index)}'`);
  }
  for (const change of changes) change();
  out.ok();
}

const SLOW_LOG_MAX = 10_000;
