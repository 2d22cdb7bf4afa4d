/**
 * AUTH and HELLO. A password is the configured one, which speaks for the configured subject, or a token, which speaks for its
 * own. Why one is refused is not said. Passwords are compared by their digests, in time that says nothing of them.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { KvError } from '../../engine/domains/kv/command.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { Principal } from '../authentication.ts';
import type { RespConnection } from './resp-connection.ts';

const WRONG_PASS = 'WRONGPASS invalid username-password pair or user is disabled.';
const NO_PASSWORD =
  'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?';
const NOAUTH_HELLO =
  'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option ' +
  'can be used to authenticate the client and select the RESP protocol version at the same time';

interface Credentials {
  readonly user: string;
  readonly password: string;
}

export function authenticate(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  if (args.count > 3) throw new KvError('ERR syntax error');
  const hasUser = args.count === 3;
  const credentials = { user: hasUser ? args.text(1) : 'default', password: args.text(hasUser ? 2 : 1) };
  const { config, authenticator } = connection.context;
  if (config.respPassword === undefined && !authenticator.required) {
    if (!hasUser) throw new KvError(NO_PASSWORD);
    if (credentials.user !== 'default') throw new KvError(WRONG_PASS); // the default user needs no password, so any will do
    return out.ok();
  }
  connection.alone(async (later) => {
    if (await verify(connection, credentials)) later.ok();
    else later.error(WRONG_PASS);
  });
}

/** True when they are right; the connection is authenticated then. */
async function verify(connection: RespConnection, { user, password }: Credentials): Promise<boolean> {
  const { config, authenticator, counters, log } = connection.context;
  const mayBePassword = user === 'default' || user === config.respSubject;
  if (config.respPassword !== undefined && mayBePassword && isSameText(password, config.respPassword)) {
    const principal = { id: config.respSubject, roles: [], claims: new Map(), expiresSeconds: Number.POSITIVE_INFINITY };
    connection.authenticate(principal, config.respSubject);
    return true;
  }
  const principal = authenticator.required ? await principalOf(connection, password) : undefined;
  if (principal !== undefined && (user === 'default' || user === principal.id)) {
    connection.authenticate(principal, principal.id);
    return true;
  }
  counters.authFailures += 1;
  log('info', 'authentication refused', { door: 'resp' });
  return false;
}

async function principalOf(connection: RespConnection, token: string): Promise<Principal | undefined> {
  try {
    return await connection.context.authenticator.verify(token);
  } catch (error) {
    if (error instanceof GridError) return undefined;
    throw error;
  }
}

function isSameText(left: string, right: string): boolean {
  return timingSafeEqual(digestOf(left), digestOf(right));
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

interface Greeting {
  readonly version: number | undefined;
  readonly credentials: Credentials | undefined;
  readonly name: string | undefined;
}

export function hello(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  const greeting = greetingOf(args);
  const { credentials } = greeting;
  const { config, authenticator } = connection.context;
  if (credentials === undefined) {
    if (!connection.isAuthenticated) throw new KvError(NOAUTH_HELLO);
    return welcome(connection, greeting, out);
  }
  if (config.respPassword === undefined && !authenticator.required) {
    if (credentials.user !== 'default') throw new KvError(WRONG_PASS);
    return welcome(connection, greeting, out);
  }
  connection.alone(async (later) => {
    if (await verify(connection, credentials)) welcome(connection, greeting, later);
    else later.error(WRONG_PASS);
  });
}

function greetingOf(args: RespCommand): Greeting {
  let version: number | undefined;
  let credentials: Credentials | undefined;
  let name: string | undefined;
  if (args.count > 1) {
    const given = integerOf(args.argument(1));
    if (given === undefined) throw new KvError('ERR Protocol version is not an integer or out of range');
    if (given !== 2 && given !== 3) throw new KvError('NOPROTO unsupported protocol version');
    version = given;
  }
  for (let index = 2; index < args.count; index++) {
    const word = args.text(index).toLowerCase();
    if (word === 'auth' && index + 2 < args.count) {
      credentials = { user: args.text(index + 1), password: args.text(index + 2) };
      index += 2;
    } else if (word === 'setname' && index + 1 < args.count) {
      name = clientName(args.text(index + 1));
      index += 1;
    } else throw new KvError(`ERR Syntax error in HELLO option '${args.text(index)}'`);
  }
  return { version, credentials, name };
}

function welcome(connection: RespConnection, { version, name }: Greeting, out: RespWriter): void {
  if (name !== undefined) connection.name = name;
  if (version !== undefined) connection.isResp3 = version === 3;
  out.isResp3 = connection.isResp3;
  out.map(7);
  out.bulkText('server');
  out.bulkText('redis');
  out.bulkText('version');
  out.bulkText(REDIS_VERSION);
  out.bulkText('proto');
  out.integer(connection.isResp3 ? 3 : 2);
  out.bulkText('id');
  out.integer(connection.id);
  out.bulkText('mode');
  out.bulkText('standalone');
  out.bulkText('role');
  out.bulkText('master');
  out.bulkText('modules');
  out.array(0);
}

/** The Redis whose commands and texts these are: clients look at it. */
export const REDIS_VERSION = '7.0.15';

/** Characters of what a client says of itself. */
export const CLIENT_TEXT_MAX = 256;

/** A name that can stand in a list. Throws KvError. */
export function clientName(text: string): string {
  if (text.length > CLIENT_TEXT_MAX) throw new KvError(`ERR Client names cannot be longer than ${CLIENT_TEXT_MAX} characters.`);
  if (/[^!-~]/.test(text)) {
    throw new KvError('ERR Client names cannot contain spaces, newlines or special characters.');
  }
  return text;
}
