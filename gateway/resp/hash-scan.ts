/** The first page of HSCAN where the name of the hash may be a string at another worker than the page's: asked first, then scanned. */
import { WRONG_TYPE } from '../../engine/domains/kv/command.ts';
import { commandAt, commandNumber } from '../../engine/domains/kv/commands.ts';
import { REQUEST_COMMANDS } from '../../engine/protocol/envelope.ts';
import { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RoutedCommand } from './command-router.ts';
import { concat } from './merge.ts';
import type { RespContext } from './resp-context.ts';
import { Turn } from './turn.ts';

const TYPE = commandAt(commandNumber('type'));
const STRING_TYPE = '+string\r\n';
const NO_BYTES = new Uint8Array(0);
const latin1 = new TextDecoder('latin1');

/** Writes the reply. Rejects with GridError. */
export async function scanHash(context: RespContext, command: RoutedCommand, out: RespWriter): Promise<void> {
  const { acts, calls, actRouter, actWriters } = context;
  const { db, args } = command;
  const types = await acts.write([{ spec: TYPE, args: wordsOf([args.argument(0), args.argument(1)]), db }], [], false);
  if (typeof types === 'string') return out.error(types);
  if (latin1.decode(types[0]) === STRING_TYPE) return out.error(WRONG_TYPE);
  const turn = new Turn(() => {});
  const worker = actRouter.routeScan(command, turn);
  turn.keep(actWriters);
  const [parts] = await calls.request(REQUEST_COMMANDS, [worker], () => turn.bodies.get(worker) ?? NO_BYTES);
  turn.answered(worker, -1, parts?.[0] ?? NO_BYTES);
  for (const reply of turn.replies()) out.raw(reply);
}

function wordsOf(words: readonly Uint8Array[]): RespCommand {
  const command = new RespCommand();
  command.clear(concat(words));
  let at = 0;
  for (const { length } of words) {
    command.add(at, length);
    at += length;
  }
  return command;
}
