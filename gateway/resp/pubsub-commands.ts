/**
 * SUBSCRIBE and its like, PUBLISH, PUBSUB: the topics of the grid as channels. A message of a WebSocket client comes to a Redis
 * subscriber as GET would read it (an object as JSON), and what PUBLISH sends comes to a WebSocket client as SET would store it.
 */
import { KvError } from '../../engine/domains/kv/command.ts';
import { encodeValue, VALUE_HEADER_BYTES } from '../../engine/domains/kv/value.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RespConnection } from './resp-connection.ts';

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

export function publish(connection: RespConnection, args: RespCommand, _out: RespWriter): void {
  const topic = nameAt(args, 1);
  if (!connection.access.may('publish', topic)) throw new KvError(NO_CHANNEL);
  const data = dataOf(args.argument(2));
  const { context, user } = connection;
  connection.later(async (out) => out.integer(await context.topics.publish(topic, data, user)));
}

export function pubsub(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  const word = args.text(1).toLowerCase();
  const { topics } = connection.context;
  if (word === 'channels' && args.count <= 3) {
    const matching = args.count === 3 ? nameAt(args, 2) : '*';
    connection.alone(async (later) => {
      const census = await topics.census({ matching, of: [] });
      const names = census.topics.filter((topic) => connection.access.may('subscribe', topic));
      later.array(names.length);
      for (const name of names) later.bulkText(name);
    });
  } else if (word === 'numsub') {
    const names = namesFrom(args, 2);
    connection.alone(async (later) => {
      const { subscribers } = await topics.census({ of: names });
      later.array(2 * names.length);
      names.forEach((name, index) => {
        later.bulkText(name);
        later.integer(subscribers[index] ?? 0);
      });
    });
  } else if (word === 'numpat' && args.count === 2) {
    connection.alone(async (later) => later.integer((await topics.census({ of: [] })).patterns));
  } else if (word === 'help' && args.count === 2) {
    out.array(HELP.length);
    for (const line of HELP) out.simple(line);
  } else if (word === 'channels') {
    throw new KvError(`ERR unknown subcommand or wrong number of arguments for '${args.text(1)}'. Try PUBSUB HELP.`);
  } else if (word === 'numpat' || word === 'help') {
    throw new KvError(`ERR wrong number of arguments for 'pubsub|${word}' command`);
  } else throw new KvError(`ERR unknown subcommand '${args.text(1)}'. Try PUBSUB HELP.`);
}

const HELP = [
  'PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:',
  'CHANNELS [<pattern>]',
  'NUMPAT',
  'NUMSUB [<channel> ...]',
  'HELP',
];

function namesFrom(args: RespCommand, first: number): string[] {
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
