/** Commands that are families: `CLIENT ID`, `OBJECT ENCODING key`. */
import type { RespCommand } from '../../protocol/resp-parser.ts';
import { KvError, wrongArguments } from './command.ts';

/** Arity as Redis counts it (both words included, negative: at least), and what runs. */
export type Subcommands<Run> = ReadonlyMap<string, readonly [arity: number, run: Run]>;

/** The member of the family that the second word names. Throws KvError as Redis words it: unknown first, then the arguments. */
export function subcommandOf<Run>(family: string, subcommands: Subcommands<Run>, args: RespCommand): Run {
  const word = args.text(1).toLowerCase();
  const found = subcommands.get(word);
  if (found === undefined) throw new KvError(`ERR unknown subcommand '${args.text(1)}'. Try ${family.toUpperCase()} HELP.`);
  const [arity, run] = found;
  if (arity >= 0 ? args.count !== arity : args.count < -arity) throw new KvError(wrongArguments(`${family}|${word}`));
  return run;
}
