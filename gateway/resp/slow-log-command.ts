/** SLOWLOG and LATENCY, from one list of turns that took long. Whoever is no administrator sees what its own user ran. */
import { KvError } from '../../engine/domains/kv/command.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import { subcommandOf, type Subcommands } from '../../engine/domains/kv/subcommand.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RespConnection } from './resp-connection.ts';
import type { SlowTurn } from './slow-log.ts';

const COUNT_DEFAULT = 10;

type Subcommand = (connection: RespConnection, args: RespCommand, out: RespWriter) => void;

export function slowLogCommand(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  subcommandOf('slowlog', SLOW_LOG, args)(connection, args, out);
}

const SLOW_LOG: Subcommands<Subcommand> = new Map<string, readonly [number, Subcommand]>([
  ['get', [-2, turns]],
  ['len', [2, (connection, _args, out) => out.integer(turnsFor(connection).length)]],
  [
    'reset',
    [
      2,
      (connection, _args, out) => {
        connection.assertAdmin('slowlog|reset');
        connection.context.slowLog.clear();
        out.ok();
      },
    ],
  ],
]);

function turns(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  if (args.count > 3) throw unknownOrWrong(args, 'SLOWLOG');
  const count = args.count === 3 ? integerOf(args.argument(2)) : COUNT_DEFAULT;
  if (count === undefined || count < -1) throw new KvError('ERR count should be greater than or equal to -1');
  const shown = turnsFor(connection);
  const told = count < 0 ? shown : shown.slice(0, Number(count));
  out.array(told.length);
  for (const turn of told) {
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

/** As Redis says it of what has a fixed number of arguments by hand. */
function unknownOrWrong(args: RespCommand, family: string): KvError {
  return new KvError(`ERR unknown subcommand or wrong number of arguments for '${args.text(1)}'. Try ${family} HELP.`);
}

export function latencyCommand(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  subcommandOf('latency', LATENCY, args)(connection, args, out);
}

const LATENCY: Subcommands<Subcommand> = new Map<string, readonly [number, Subcommand]>([
  ['latest', [2, latest]],
  ['history', [3, history]],
  ['reset', [-2, resetLatency]],
]);

function latest(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  const shown = turnsFor(connection);
  const [last] = shown;
  out.array(last === undefined ? 0 : 1);
  if (last === undefined) return;
  out.array(4);
  out.bulkText('command');
  out.integer(last.atSeconds);
  out.integer(Math.round(last.micros / 1000));
  out.integer(Math.round(Math.max(...shown.map(({ micros }) => micros)) / 1000));
}

function history(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  const turns = args.text(2).toLowerCase() === 'command' ? turnsFor(connection).toReversed() : [];
  out.array(turns.length);
  for (const { atSeconds, micros } of turns) {
    out.array(2);
    out.integer(atSeconds);
    out.integer(Math.round(micros / 1000));
  }
}

function resetLatency(connection: RespConnection, _args: RespCommand, out: RespWriter): void {
  connection.assertAdmin('latency|reset');
  const { slowLog } = connection.context;
  const isKept = slowLog.turns.length === 0;
  slowLog.clear();
  out.integer(isKept ? 0 : 1);
}

function turnsFor({ context: { slowLog }, isAdmin, user }: RespConnection): readonly SlowTurn[] {
  return isAdmin ? slowLog.turns : slowLog.turns.filter((turn) => turn.user === user);
}
