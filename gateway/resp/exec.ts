/** EXEC: what was queued runs as one, at the worker that owns all of it or over several. */
import { touchedBy } from '../../engine/domains/kv/touched-keys.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { SessionAccess } from '../subject-access.ts';
import { forbidden } from './command-refusals.ts';
import { commandFor, noPermission, seesDatabase } from './command-rights.ts';
import { COMMANDS_BY_NAME } from './command-router.ts';
import type { RespConnection } from './resp-connection.ts';
import type { RespContext } from './resp-context.ts';
import { hiddenMap, type QueuedCommand, transact, type WatchedKey, writeOutcome } from './transaction.ts';

/** Writes the reply of EXEC. `runOwn` runs the commands of the connection itself. Rejects with GridError. */
export async function execute(
  connection: RespConnection,
  queued: readonly QueuedCommand[],
  watched: readonly WatchedKey[],
  out: RespWriter,
): Promise<void> {
  const { access, context, isResp3 } = connection;
  const commands = queued.filter(({ spec }) => spec.route !== 'gateway').map((command) => asNow(access, command));
  const hidden = watched.find(({ db }) => !seesDatabase(access, db));
  if (hidden !== undefined) return out.error(noPermission('exec', `db${hidden.db}`));
  const map = await hiddenMap(context, access, watched); // there may be one by now
  if (map !== undefined) return out.error(noPermission('exec', map));
  for (const { spec, args, db } of commands) {
    const refusal = forbidden(access, spec, args, db);
    if (refusal !== undefined) return out.error(refusal);
  }
  const owner = onlyOwner(context, commands, watched);
  const outcome =
    owner >= 0
      ? await transact(context, owner, watched, commands, isResp3)
      : await context.acts.write(commands, watched, isResp3);
  if (outcome === 'changed') out.nilArray();
  else if (typeof outcome === 'string') out.error(outcome);
  else {
    // It was run: its replies, which workers have bounded, are told whole, and those of the connection itself as far as there is room.
    out.bytesMax += outcome.reduce((bytes, { length }) => bytes + length, 0);
    await writeOutcome(out, queued, outcome, (command, to) => connection.runQueued(command, to));
  }
}

/** Rights may have changed since it was queued: a name that may not be emptied any more is no hash to DEL. */
function asNow(access: SessionAccess, command: QueuedCommand): QueuedCommand {
  const routed = commandFor(access, COMMANDS_BY_NAME.get(command.spec.name), command.args);
  return routed === undefined || routed.spec === command.spec ? command : { ...command, spec: routed.spec };
}

/** The worker that owns all that is touched; -1: there are several. */
function onlyOwner({ router, writers }: RespContext, commands: readonly QueuedCommand[], watched: readonly WatchedKey[]): number {
  if (writers.length === 1) return 0;
  const owners = new Set<number>();
  for (const { versions } of watched) for (const worker of versions.keys()) owners.add(worker);
  for (const { spec, args, db } of commands) {
    const { isEverything, keys } = touchedBy(spec, args, db);
    if (isEverything) return -1;
    if (keys.some((key) => router.mayNameMap(key))) return -1;
    for (const { key } of keys) owners.add(router.ownerOfKey(key));
  }
  const [owner = 0] = owners;
  return owners.size > 1 ? -1 : owner;
}
