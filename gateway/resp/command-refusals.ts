/** Why a command is not run, as Redis checks it, before any worker is asked. */
import { type CommandSpec, hasArity, wrongArguments } from '../../engine/domains/kv/command.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { SessionAccess } from '../subject-access.ts';
import { forbiddenMap, noPermission } from './command-rights.ts';
import type { RespConnection } from './resp-connection.ts';

/** What a client may send before it has authenticated. */
const BEFORE_AUTH = new Set(['auth', 'hello', 'quit', 'reset']);
/** Lines of other protocols: somebody makes a browser talk to us. */
const FOREIGN = new Set(['post', 'host:']);
/** No reply, and the connection ends. */
export const HANG_UP = '';
/** What a subscriber that speaks RESP2 may do: a reply to anything else would look like a message. */
const IN_SUBSCRIBER = new Set(['subscribe', 'unsubscribe', 'psubscribe', 'punsubscribe', 'ping', 'quit', 'reset']);
/** Commands that have names of their own for what stands behind. */
const CONTAINERS = new Set(['client', 'config', 'command', 'pubsub', 'slowlog', 'latency', 'function', 'memory', 'object']);
const NAME_CHARACTERS_MAX = 128;

function notInSubscriber(args: RespCommand): string {
  const name = args.text(0).toLowerCase();
  const isContainer = CONTAINERS.has(name) && args.count > 1;
  const fullName = isContainer ? `${name}|${args.text(1).toLowerCase()}` : name;
  const code = name === 'exec' ? 'EXECABORT Transaction discarded because of:' : 'ERR';
  return `${code} Can't execute '${fullName}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`;
}

/** As Redis says it, with the arguments it begins with. */
function unknownCommand(args: RespCommand): string {
  let told = '';
  for (let index = 1; index < args.count && told.length < NAME_CHARACTERS_MAX; index++) {
    told += `'${args.text(index).slice(0, NAME_CHARACTERS_MAX - told.length)}' `;
  }
  return `ERR unknown command '${args.text(0).slice(0, NAME_CHARACTERS_MAX)}', with args beginning with: ${told}`;
}

/** Known, arity, authenticated, permitted; undefined: it is run. */
export function refusalOf(
  connection: RespConnection,
  spec: CommandSpec | undefined,
  name: string,
  args: RespCommand,
): string | undefined {
  const { access, transaction, isResp3 } = connection;
  if (spec === undefined) return FOREIGN.has(name) ? HANG_UP : unknownCommand(args);
  if (!hasArity(spec, args.count)) return wrongArguments(spec.name);
  if (!connection.isKnown && !BEFORE_AUTH.has(name)) return 'NOAUTH Authentication required.';
  if (connection.isSubscriber && !isResp3 && !IN_SUBSCRIBER.has(name)) return notInSubscriber(args);
  return spec.route === 'gateway'
    ? undefined
    : forbidden(access, spec, args, transaction.isOpen ? transaction.db : connection.db);
}

/** Why the subject may not run it on this database; undefined: it may. */
export function forbidden(access: SessionAccess, spec: CommandSpec, args: RespCommand, db: number): string | undefined {
  const mapName = forbiddenMap(access, spec, args, db);
  return mapName === undefined ? undefined : noPermission(args.text(0).toLowerCase(), mapName);
}
