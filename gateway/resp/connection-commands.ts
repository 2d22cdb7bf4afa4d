/**
 * Commands that a connection answers itself: who it is, what it speaks, what the server is. No key is touched here.
 *
 * The families of more than a few subcommands stand in files of their own (client-command.ts, config-command.ts, …).
 */
import { type CommandSpec, DATABASES, DB_OUT_OF_RANGE, KvError, NOT_AN_INTEGER } from '../../engine/domains/kv/command.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import { subcommandOf, type Subcommands } from '../../engine/domains/kv/subcommand.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import { authenticate, hello } from './auth-commands.ts';
import { clientCommand } from './client-command.ts';
import { commandCommand } from './command-command.ts';
import { configCommand } from './config-command.ts';
import { infoCommand } from './info-command.ts';
import type { RespConnection } from './resp-connection.ts';
import { psubscribe, publish, pubsub, punsubscribe, subscribe, unsubscribe } from './pubsub-commands.ts';
import { discard, exec, multi, unwatch, watch } from './transaction-commands.ts';
import { wait, waitAof } from './wait-commands.ts';
import { latencyCommand, slowLogCommand } from './slow-log-command.ts';

export interface ConnectionCommand {
  readonly spec: CommandSpec;
  /** Writes one reply, or says how it comes later (`connection.alone`). Throws KvError for what the client is told. */
  readonly run: (connection: RespConnection, args: RespCommand, out: RespWriter) => void;
}

function command(
  name: string,
  arity: number,
  run: ConnectionCommand['run'],
  flags: readonly string[] = ['noscript', 'loading', 'stale', 'fast'],
): [string, ConnectionCommand] {
  return [name, { spec: { name, arity, flags, keys: [0, 0, 0], route: 'gateway' }, run }];
}

function ping(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  if (args.count > 2) throw new KvError("ERR wrong number of arguments for 'ping' command");
  if (connection.isSubscriber && !connection.isResp3) {
    out.array(2);
    out.bulkText('pong');
    if (args.count === 2) out.bulk(args.argument(1));
    else out.bulkText('');
  } else if (args.count === 2) out.bulk(args.argument(1));
  else out.simple('PONG');
}

function select(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  const db = integerOf(args.argument(1));
  if (db === undefined || db > 2 ** 31 - 1 || db < -(2 ** 31)) throw new KvError(NOT_AN_INTEGER);
  if (db < 0 || db >= DATABASES) throw new KvError(DB_OUT_OF_RANGE);
  connection.db = Number(db);
  out.ok();
}

function quit(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  out.ok();
  connection.closeBehind();
}

function reset(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  connection.reset();
  out.isResp3 = false;
  out.simple('RESET');
}

function time(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  const micros = Math.floor(connection.context.clock.wallMs * 1000);
  out.array(2);
  out.bulkText(String(Math.floor(micros / 1e6)));
  out.bulkText(String(micros % 1e6));
}

function shutdown(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  if (args.count === 2 && args.text(1).toLowerCase() === 'abort') throw new KvError('ERR No shutdown in progress.');
  for (let index = 1; index < args.count; index++) {
    if (!SHUTDOWN_WORDS.has(args.text(index).toLowerCase())) throw new KvError('ERR syntax error');
  }
  connection.assertAdmin('shutdown');
  out.length = 0; // nothing is answered: the connection ends with the server
  connection.context.shutDown();
}

const SHUTDOWN_WORDS = new Set(['nosave', 'save', 'now', 'force']);

/** There are no functions: none is told, and FLUSH has nothing to do. */
function functions(_connection: RespConnection, args: RespCommand, out: RespWriter): void {
  subcommandOf('function', FUNCTION, args)(args, out);
}

const FUNCTION: Subcommands<(args: RespCommand, out: RespWriter) => void> = new Map([
  ['flush', [-2, flushFunctions]],
  ['list', [-2, (_args, out) => out.array(0)]],
]);

function flushFunctions(args: RespCommand, out: RespWriter): void {
  if (args.count > 3 || (args.count === 3 && !/^a?sync$/i.test(args.text(2)))) {
    throw new KvError('ERR FUNCTION FLUSH only supports SYNC|ASYNC option');
  }
  out.ok();
}

function ownSpecs(): CommandSpec[] {
  return [...CONNECTION_COMMANDS.values()].map(({ spec }) => spec);
}

const SLOW = ['noscript', 'loading', 'stale'];
const PUBSUB = ['pubsub', 'noscript', 'loading', 'stale'];
const ADMIN = ['admin', 'noscript', 'loading', 'stale'];

export const CONNECTION_COMMANDS: ReadonlyMap<string, ConnectionCommand> = new Map([
  command('ping', -1, ping, ['fast']),
  command('echo', 2, (_, args, out) => out.bulk(args.argument(1)), ['fast']),
  command('select', 2, select, ['loading', 'stale', 'fast']),
  command('quit', -1, quit),
  command('reset', 1, reset),
  command('time', 1, time, ['loading', 'stale', 'fast']),
  command('auth', -2, authenticate),
  command('hello', -1, hello),
  command('client', -2, clientCommand, SLOW),
  command('command', -1, (_, args, out) => commandCommand(ownSpecs(), args, out), ['loading', 'stale']),
  command('config', -2, configCommand, ADMIN),
  command('info', -1, infoCommand, ['loading', 'stale']),
  command('slowlog', -2, slowLogCommand, ADMIN),
  command('latency', -2, latencyCommand, ADMIN),
  command('function', -2, functions, SLOW),
  command('wait', 3, wait, ['noscript']),
  command('waitaof', 4, waitAof, ['noscript']),
  command('subscribe', -2, subscribe, PUBSUB),
  command('unsubscribe', -1, unsubscribe, PUBSUB),
  command('psubscribe', -2, psubscribe, PUBSUB),
  command('punsubscribe', -1, punsubscribe, PUBSUB),
  command('publish', 3, publish, ['pubsub', 'loading', 'stale', 'fast']),
  command('pubsub', -2, pubsub, ['pubsub', 'loading', 'stale']),
  command('multi', 1, multi),
  command('exec', 1, exec, ['noscript', 'loading', 'stale']),
  command('discard', 1, discard),
  command('watch', -2, watch),
  command('unwatch', 1, unwatch),
  command('shutdown', -1, shutdown, ADMIN),
]);
