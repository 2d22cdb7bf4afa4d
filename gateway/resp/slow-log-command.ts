/** SLOWLOG and LATENCY, from one list of turns that took long. */
import { KvError, NOT_AN_INTEGER } from '../../engine/domains/kv/command.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RespConnection } from './resp-connection.ts';

const COUNT_DEFAULT = 10;

export function slowLogCommand({ context }: RespConnection, args: RespCommand, out: RespWriter): void {
  const { slowLog } = context;
  const word = args.text(1).toLowerCase();
  if (word === 'len' && args.count === 2) return out.integer(slowLog.turns.length);
  if (word === 'reset' && args.count === 2) {
    slowLog.clear();
    return out.ok();
  }
  if (word !== 'get' || args.count > 3) {
    throw new KvError(`ERR unknown subcommand or wrong number of arguments for '${args.text(1)}'. Try SLOWLOG HELP.`);
  }
  const count = args.count === 3 ? integerOf(args.argument(2)) : COUNT_DEFAULT;
  if (count === undefined) throw new KvError(NOT_AN_INTEGER);
  if (count < -1) throw new KvError('ERR count should be greater than or equal to -1');
  const turns = count < 0 ? slowLog.turns : slowLog.turns.slice(0, Number(count));
  out.array(turns.length);
  for (const turn of turns) {
    out.array(6);
    out.integer(turn.id);
    out.integer(turn.atSeconds);
    out.integer(turn.micros);
    out.array(turn.commands > 1 ? 2 : 1);
    out.bulkText(turn.command);
    if (turn.commands > 1) out.bulkText(`... (${turn.commands - 1} more commands in one read)`);
    out.bulkText(turn.address);
    out.bulkText(turn.name);
  }
}

export function latencyCommand({ context }: RespConnection, args: RespCommand, out: RespWriter): void {
  const { slowLog } = context;
  const word = args.text(1).toLowerCase();
  const [latest] = slowLog.turns;
  if (word === 'latest' && args.count === 2) {
    out.array(latest === undefined ? 0 : 1);
    if (latest === undefined) return;
    out.array(4);
    out.bulkText('command');
    out.integer(latest.atSeconds);
    out.integer(Math.round(latest.micros / 1000));
    out.integer(Math.round(Math.max(...slowLog.turns.map(({ micros }) => micros)) / 1000));
  } else if (word === 'history' && args.count === 3) {
    const turns = args.text(2).toLowerCase() === 'command' ? slowLog.turns.toReversed() : [];
    out.array(turns.length);
    for (const { atSeconds, micros } of turns) {
      out.array(2);
      out.integer(atSeconds);
      out.integer(Math.round(micros / 1000));
    }
  } else if (word === 'reset') {
    const isKept = slowLog.turns.length === 0;
    slowLog.clear();
    out.integer(isKept ? 0 : 1);
  } else throw new KvError(`ERR unknown subcommand or wrong number of arguments for '${args.text(1)}'. Try LATENCY HELP.`);
}
