/**
 * Commands of several workers, each run as one: which kind of act it is (joint-acts.ts).
 *
 *   FLUSHDB, FLUSHALL, SWAPDB   each worker changes its part      MGET, KEYS, HGETALL, …   each worker reads its part
 *   HSCAN                       by one worker, once the name      MSET, RENAME, …          run at the gateway on what is told
 *                               is known to be no string
 */
import { KvError } from '../../engine/domains/kv/command.ts';
import { databaseName } from '../../engine/domains/kv/hash-names.ts';
import { replyOf } from '../../engine/domains/kv/refused-reply.ts';
import { touchedBy } from '../../engine/domains/kv/touched-keys.ts';
import { changesWholes, wholeChangeOf } from '../../engine/domains/kv/whole-changes.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import { type CommandRouter, isCuttable, type RoutedCommand } from './command-router.ts';
import { scanHash } from './hash-scan.ts';
import type { RespContext } from './resp-context.ts';
import { Turn } from './turn.ts';

/** Writes the reply of the command. */
export async function actTogether(context: RespContext, command: RoutedCommand, out: RespWriter): Promise<void> {
  try {
    const { spec } = command;
    const touched = touchedBy(spec, command.args, command.db);
    if (changesWholes(spec)) return await changeWholes(context, command, out);
    if (spec.name === 'hscan') return await scanHash(context, command, out);
    const { acts, router } = context;
    const isPlain = spec.fields === undefined ? !touched.keys.some((key) => router.mayNameMap(key)) : router.knowsHash(command);
    const outcome =
      isPlain && isCuttable(spec)
        ? await readTogether(context, command)
        : await acts.write([command], [], command.isResp3, mayBeNoHash(router, command));
    if (typeof outcome === 'string') out.error(outcome);
    else for (const reply of outcome) out.raw(reply);
  } catch (error) {
    if (error instanceof KvError) return out.error(error.message);
    if (!(error instanceof GridError)) throw error;
    out.error(replyOf(error));
  }
}

/** A write to a hash that may not be there: where it is refused, or finds nothing, it makes no map. */
function mayBeNoHash(router: CommandRouter, { spec, args, db }: RoutedCommand): boolean {
  return spec.fields !== undefined && !router.mayNameMap({ space: databaseName(db), key: args.argument(1) });
}

async function changeWholes({ acts }: RespContext, { spec, args, db }: RoutedCommand, out: RespWriter): Promise<void> {
  const refusal = await acts.change(wholeChangeOf(spec.name, args, db));
  if (refusal === '') out.ok();
  else out.error(refusal);
}

async function readTogether(
  { acts, actRouter, actWriters }: RespContext,
  command: RoutedCommand,
): Promise<readonly Uint8Array[] | string> {
  const turn = new Turn(() => {});
  actRouter.cut(command, turn);
  turn.keep(actWriters);
  const answers = await acts.read(touchedBy(command.spec, command.args, command.db), turn.bodies);
  if (typeof answers === 'string') return answers;
  for (const [worker, replies] of answers) turn.answered(worker, -1, replies);
  return turn.replies();
}
