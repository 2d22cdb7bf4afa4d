/** The commands of transactions, as a connection runs them. */
import { KvError } from '../../engine/domains/kv/command.ts';
import { databaseName } from '../../engine/domains/kv/hash-names.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import { execute } from './exec.ts';
import type { RespConnection } from './resp-connection.ts';
import { noPermission, seesDatabase } from './command-rights.ts';
import { hiddenMap, versionsOf } from './transaction.ts';

export function multi(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  connection.transaction.begin(connection.db);
  out.ok();
}

export function discard(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  if (!connection.transaction.isOpen) throw new KvError('ERR DISCARD without MULTI');
  connection.transaction.end();
  out.ok();
}

export function unwatch(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  connection.transaction.watched = [];
  out.ok();
}

export function watch(connection: RespConnection, args: RespCommand, _out: RespWriter): void {
  const { transaction, context, db } = connection;
  if (transaction.isOpen) throw new KvError('ERR WATCH inside MULTI is not allowed');
  if (!seesDatabase(connection.access, db)) throw new KvError(noPermission('watch', `db${db}`));
  transaction.assertRoom(args);
  const keys = Array.from({ length: args.count - 1 }, (_, index) => args.argument(index + 1).slice());
  const space = databaseName(db);
  const watched = keys.map((key) => ({ db, space, key }));
  connection.alone(async (out) => {
    const map = await hiddenMap(context, connection.access, watched);
    if (map !== undefined) return out.error(noPermission('watch', map));
    transaction.watch(await versionsOf(context, db, keys));
    out.ok();
  });
}

export function exec(connection: RespConnection, _args: RespCommand, _out: RespWriter): void {
  const { transaction } = connection;
  const { queued, watched, isSpoilt } = transaction;
  if (queued === undefined) throw new KvError('ERR EXEC without MULTI');
  transaction.end();
  if (isSpoilt) throw new KvError('EXECABORT Transaction discarded because of previous errors.');
  connection.alone((out) => execute(connection, queued, watched, out));
}
