/** CLIENT: names, lists and ends connections of this door. */
import { KvError, SYNTAX_ERROR } from '../../engine/domains/kv/command.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import { subcommandOf, type Subcommands } from '../../engine/domains/kv/subcommand.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import { CLIENT_TEXT_MAX, clientName } from './auth-commands.ts';
import type { RespConnection } from './resp-connection.ts';

type Subcommand = (connection: RespConnection, args: RespCommand, out: RespWriter) => void;

export function clientCommand(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  subcommandOf('client', SUBCOMMANDS, args)(connection, args, out);
}

function setName(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  connection.name = clientName(args.text(2));
  out.ok();
}

function getName(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  if (connection.name === '') out.nil();
  else out.bulkText(connection.name);
}

function setInfo(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  const word = args.text(2).toLowerCase();
  const value = args.text(3);
  if (word !== 'lib-name' && word !== 'lib-ver') throw new KvError(`ERR Unrecognized option '${args.text(2)}'`);
  if (value.length > CLIENT_TEXT_MAX) throw new KvError(`ERR ${word} cannot be longer than ${CLIENT_TEXT_MAX} characters.`);
  if (/[^!-~]/.test(value)) throw new KvError(`ERR ${word} cannot contain spaces, newlines or special characters.`);
  if (word === 'lib-name') connection.libName = value;
  else connection.libVersion = value;
  out.ok();
}

/** One line of CLIENT LIST. */
export function describeClient(connection: RespConnection): string {
  const { clock } = connection.context;
  const seconds = (sinceMs: number): number => Math.max(0, Math.floor((clock.nowMs - sinceMs) / 1000));
  const fields = {
    id: connection.id,
    addr: connection.socket.remoteAddress,
    laddr: connection.socket.localAddress,
    fd: -1,
    name: connection.name,
    age: seconds(connection.openedMs),
    idle: seconds(connection.lastSeenMs),
    flags: connection.isSubscriber ? 'P' : 'N',
    db: connection.db,
    sub: connection.subscriptions.topics,
    psub: connection.subscriptions.patterns,
    multi: connection.queuedCommands,
    qbuf: connection.pendingBytes,
    omem: connection.socket.unreadBytes,
    events: 'r',
    cmd: connection.lastCommand,
    user: connection.user,
    resp: connection.isResp3 ? 3 : 2,
    'lib-name': connection.libName,
    'lib-ver': connection.libVersion,
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

function list(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  let chosen = reachable(connection);
  if (args.count > 2) {
    const word = args.text(2).toLowerCase();
    if (word === 'id' && args.count > 3) {
      const ids = new Set<number>();
      for (let index = 3; index < args.count; index++) ids.add(idOf(args, index, 'ERR Invalid client ID'));
      chosen = chosen.filter(({ id }) => ids.has(id));
    } else if (word === 'type' && args.count === 4) {
      const type = args.text(3).toLowerCase();
      if (!TYPES.has(type)) throw new KvError(`ERR Unknown client type '${args.text(3)}'`);
      chosen = chosen.filter((other) => typeOf(other) === type);
    } else throw new KvError(SYNTAX_ERROR);
  }
  out.verbatim(chosen.map((other) => `${describeClient(other)}\n`).join(''));
}

const TYPES = new Set(['normal', 'master', 'replica', 'pubsub']);

function typeOf(connection: RespConnection): string {
  return connection.isSubscriber ? 'pubsub' : 'normal';
}

function idOf(args: RespCommand, index: number, error: string): number {
  const id = integerOf(args.argument(index));
  if (typeof id !== 'number' || id < 1) throw new KvError(error);
  return id;
}

/** Connections that it may see and end: all, if it may end the server, else those of its own user. */
function reachable(connection: RespConnection): RespConnection[] {
  return [...connection.context.connections].filter(({ user }) => connection.isAdmin || user === connection.user);
}

function kill(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  if (args.count === 3) {
    const address = args.text(2);
    const found = reachable(connection).find(({ socket }) => socket.remoteAddress === address);
    if (found === undefined) throw new KvError('ERR No such client');
    out.ok();
    end(connection, found);
    return;
  }
  const chosen = reachable(connection).filter(killFilter(connection, args));
  out.integer(chosen.length);
  for (const other of chosen) end(connection, other);
}

function killFilter(connection: RespConnection, args: RespCommand): (other: RespConnection) => boolean {
  if (args.count % 2 === 1) throw new KvError(SYNTAX_ERROR);
  const tests: ((other: RespConnection) => boolean)[] = [];
  let skipsMe = true;
  for (let index = 2; index < args.count; index += 2) {
    const word = args.text(index).toLowerCase();
    const value = args.text(index + 1);
    if (word === 'id') {
      const id = idOf(args, index + 1, 'ERR client-id should be greater than 0');
      tests.push((other) => other.id === id);
    } else if (word === 'addr') tests.push(({ socket }) => socket.remoteAddress === value);
    else if (word === 'laddr') tests.push(({ socket }) => socket.localAddress === value);
    else if (word === 'user') tests.push(({ user }) => user === value);
    else if (word === 'type') {
      if (!TYPES.has(value.toLowerCase())) throw new KvError(`ERR Unknown client type '${value}'`);
      tests.push((other) => typeOf(other) === value.toLowerCase());
    } else if (word === 'skipme' && /^(yes|no)$/i.test(value)) skipsMe = value.toLowerCase() === 'yes';
    else throw new KvError(SYNTAX_ERROR);
  }
  return (other) => !(skipsMe && other === connection) && tests.every((test) => test(other));
}

function end(by: RespConnection, other: RespConnection): void {
  if (other === by) by.closeBehind();
  else other.kill();
}

/** Nobody is ever evicted here: taken as a wish that holds anyway. */
function noEvict(_connection: RespConnection, args: RespCommand, out: RespWriter): void {
  if (!/^(on|off)$/i.test(args.text(2))) throw new KvError(SYNTAX_ERROR);
  out.ok();
}

function reply(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  const word = args.text(2).toLowerCase();
  if (word !== 'on' && word !== 'off' && word !== 'skip') throw new KvError(SYNTAX_ERROR);
  connection.replies = word;
  if (word === 'on') out.ok();
}

const HELP = [
  'CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:',
  'GETNAME',
  'ID',
  'INFO',
  'KILL <ip:port>',
  'KILL <option> <value> [<option> <value> [...]]',
  'LIST [options ...]',
  'NO-EVICT (ON|OFF)',
  'REPLY (ON|OFF|SKIP)',
  'SETINFO <option> <value>',
  'SETNAME <name>',
  'HELP',
];

function help(_connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  out.array(HELP.length);
  for (const line of HELP) out.simple(line);
}

const SUBCOMMANDS: Subcommands<Subcommand> = new Map([
  ['setname', [3, setName]],
  ['getname', [2, getName]],
  ['setinfo', [4, setInfo]],
  ['id', [2, (connection, _args, out) => out.integer(connection.id)]],
  ['info', [2, (connection, _args, out) => out.verbatim(`${describeClient(connection)}\n`)]],
  ['list', [-2, list]],
  ['kill', [-3, kill]],
  ['no-evict', [3, noEvict]],
  ['reply', [3, reply]],
  ['help', [2, help]],
]);
