/**
 * SUBSCRIBE and its like, PUBLISH, PUBSUB: the topics of the grid as channels. A message of a WebSocket client comes to a Redis
 * subscriber as GET would read it (an object as JSON), and what PUBLISH sends comes to a WebSocket client as SET would store it.
 */
import { KvError } from '../../engine/domains/kv/command.ts';
import { encodeValue, VALUE_HEADER_BYTES } from '../../engine/domains/kv/value.ts';
import { subcommandOf, type Subcommands } from '../../engine/domains/kv/subcommand.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RespConnection } from './resp-connection.ts';

/** A connection has no more than some thousand. */
const NAMES_MAX = 10_000;
const NO_CHANNEL = 'NOPERM this user has no permissions to access one of the channels used as arguments';

export function subscribe(connection: RespConnection, args: RespCommand, _out: RespWriter): void {
  const topics = namesFrom(args, 1);
  if (!topics.every((topic) => connection.access.may('subscribe', topic))) throw new KvError(NO_CHANNEL);
  connection.alone((out) => connection.subscriptions.add('topics', topics, out));
}

/** Which of the matching topics the client may hear is asked at each message. */
export function psubscribe(connection: RespConnection, args: RespCommand, _out: RespWriter): void {
  const patterns = namesFrom(args, 1);
  connection.alone((out) => connection.subscriptions.add('patterns', patterns, out));
}

export function unsubscribe(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  connection.subscriptions.remove('topics', namesFrom(args, 1), out);
}

export function punsubscribe(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  connection.subscriptions.remove('patterns', namesFrom(args, 1), out);
}

/** Who may not hear a topic is not told how many did. */
export function publish(connection: RespConnection, args: RespCommand, _out: RespWriter): void {
  const topic = nameAt(args, 1);
  if (!connection.access.may('publish', topic)) throw new KvError(NO_CHANNEL);
  const data = dataOf(args.argument(2));
  const { context, user, access } = connection;
  connection.later(async (out) => {
    const heard = await context.topics.publish(topic, data, user);
    out.integer(access.may('subscribe', topic) ? heard : 0);
  });
}

export function pubsub(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  subcommandOf('pubsub', SUBCOMMANDS, args)(connection, args, out);
}

type Subcommand = (connection: RespConnection, args: RespCommand, out: RespWriter) => void;

const SUBCOMMANDS: Subcommands<Subcommand> = new Map<string, readonly [number, Subcommand]>([
  ['channels', [-2, channels]],
  ['numsub', [-2, subscribers]],
  ['numpat', [2, patterns]],
  ['help', [2, help]],
]);

/** Topics with subscribers, of those that the client may hear. */
function channels(connection: RespConnection, args: RespCommand, _out: RespWriter): void {
  if (args.count > 3) {
    throw new KvError(`ERR unknown subcommand or wrong number of arguments for '${args.text(1)}'. Try PUBSUB HELP.`);
  }
  const matching = args.count === 3 ? nameAt(args, 2) : '*';
  connection.alone(async (out) => {
    const { topics } = await connection.context.topics.census({ matching, of: [] });
    const names = topics.filter((topic) => connection.access.may('subscribe', topic));
    out.array(names.length);
    for (const name of names) out.bulkText(name);
  });
}

function subscribers(connection: RespConnection, args: RespCommand, _out: RespWriter): void {
  const names = namesFrom(args, 2);
  connection.alone(async (out) => {
    const census = await connection.context.topics.census({ of: names });
    out.array(2 * names.length);
    names.forEach((name, index) => {
      out.bulkText(name);
      out.integer(connection.access.may('subscribe', name) ? (census.subscribers[index] ?? 0) : 0);
    });
  });
}

function patterns(connection: RespConnection, _args: RespCommand, _out: RespWriter): void {
  connection.alone(async (out) => out.integer((await connection.context.topics.census({ of: [] })).patterns));
}

function help(_connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  out.array(HELP.length);
  for (const line of HELP) out.simple(line);
}

const HELP = [
  'PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:',
  'CHANNELS [<pattern>]',
  'NUMPAT',
  'NUMSUB [<channel> ...]',
  'HELP',
];

/** Throws KvError for more names than are looked at in one go. */
function namesFrom(args: RespCommand, first: number): string[] {
  if (args.count - first > NAMES_MAX) throw new KvError(`ERR at most ${NAMES_MAX} channels or patterns can be named at once`);
  return Array.from({ length: Math.max(0, args.count - first) }, (_, index) => nameAt(args, first + index));
}

function nameAt(args: RespCommand, index: number): string {
  try {
    return strict.decode(args.argument(index));
  } catch (error) {
    if (error instanceof TypeError) throw new KvError('ERR the name of a channel is UTF-8');
    throw error;
  }
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The payload in MessagePack. */
function dataOf(value: Uint8Array): Uint8Array {
  const target = new Uint8Array(value.length + VALUE_HEADER_BYTES);
  const end = encodeValue(value, target, 0);
  return typeof end === 'number' ? target.subarray(0, end) : end;
}
