/** LCS: the longest common subsequence of two strings, by the table of all their prefixes. */
import { type Call, type CommandSpec, KvError, SYNTAX_ERROR } from './command.ts';
import { indexArgument } from './numbers.ts';

const NONE = new Uint8Array(0);
/** Cells of the table; more would hold the worker up. Redis takes as many as fit into 512 MiB. */
const CELLS_MAX = 4 << 20;

interface Options {
  readonly isLength: boolean;
  readonly isIndexes: boolean;
  readonly minLength: number;
  readonly withLength: boolean;
}

/** A run that both strings have, from the end of the strings on. */
interface Match {
  readonly first: readonly [from: number, to: number];
  readonly second: readonly [from: number, to: number];
}

function optionsOf(call: Call): Options {
  const { args } = call;
  const found = { isLength: false, isIndexes: false, minLength: 0, withLength: false };
  for (let index = 3; index < args.count; index++) {
    const word = args.text(index).toLowerCase();
    if (word === 'idx') found.isIndexes = true;
    else if (word === 'len') found.isLength = true;
    else if (word === 'withmatchlen') found.withLength = true;
    else if (word === 'minmatchlen' && index + 1 < args.count) {
      index += 1;
      found.minLength = Math.max(0, indexArgument(call, index));
    } else throw new KvError(SYNTAX_ERROR);
  }
  if (found.isIndexes && found.isLength) {
    throw new KvError('ERR If you want both the length and indexes, please just use IDX.');
  }
  return found;
}

function lcs(call: Call): void {
  const options = optionsOf(call);
  const first = (call.space.get(call.args.argument(1))?.value ?? NONE).slice();
  const second = (call.space.get(call.args.argument(2))?.value ?? NONE).slice();
  if ((first.length + 1) * (second.length + 1) > CELLS_MAX) {
    throw new KvError('ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len');
  }
  if (options.isLength) return call.out.integer(lengthOf(first, second));
  const table = tableOf(first, second);
  const length = table.at(-1) ?? 0;
  const { common, matches } = walk(first, second, table, length);
  if (options.isIndexes) writeMatches(call, matches, length, options);
  else call.out.bulk(common);
}

/** The length alone needs the row above only. */
function lengthOf(first: Uint8Array, second: Uint8Array): number {
  const row = new Uint32Array(second.length + 1);
  for (const byte of first) {
    let diagonal = 0;
    let left = 0;
    for (let column = 1; column < row.length; column++) {
      const above = row[column] as number;
      if (byte === second[column - 1]) left = diagonal + 1;
      else if (above > left) left = above;
      row[column] = left;
      diagonal = above;
    }
  }
  return row.at(-1) ?? 0;
}

function tableOf(first: Uint8Array, second: Uint8Array): Uint32Array {
  const width = second.length + 1;
  const table = new Uint32Array((first.length + 1) * width);
  for (let row = 1; row <= first.length; row++) {
    const byte = first[row - 1];
    let at = row * width + 1;
    let left = 0;
    for (let column = 0; column < second.length; column++) {
      if (byte === second[column]) left = (table[at - width - 1] as number) + 1;
      else {
        const above = table[at - width] as number;
        if (above > left) left = above;
      }
      table[at] = left;
      at += 1;
    }
  }
  return table;
}

/** From the end back to the start, as Redis goes, which settles the one of several that is answered. */
function walk(
  first: Uint8Array,
  second: Uint8Array,
  table: Uint32Array,
  length: number,
): { readonly common: Uint8Array; readonly matches: readonly Match[] } {
  const width = second.length + 1;
  const common = new Uint8Array(length);
  const matches: Match[] = [];
  let left = length;
  let row = first.length;
  let column = second.length;
  let run: { fromA: number; toA: number; fromB: number; toB: number } | undefined;
  const end = (): void => {
    if (run !== undefined) matches.push({ first: [run.fromA, run.toA], second: [run.fromB, run.toB] });
    run = undefined;
  };
  while (row > 0 && column > 0) {
    if (first[row - 1] === second[column - 1]) {
      left -= 1;
      common[left] = first[row - 1] as number;
      if (run !== undefined && run.fromA === row && run.fromB === column) {
        run.fromA -= 1;
        run.fromB -= 1;
      } else {
        end();
        run = { fromA: row - 1, toA: row - 1, fromB: column - 1, toB: column - 1 };
      }
      row -= 1;
      column -= 1;
      continue;
    }
    end();
    if ((table[(row - 1) * width + column] as number) > (table[row * width + column - 1] as number)) row -= 1;
    else column -= 1;
  }
  end();
  return { common, matches };
}

function writeMatches(call: Call, matches: readonly Match[], length: number, options: Options): void {
  const { out } = call;
  const told = matches.filter(({ first: [from, to] }) => options.minLength === 0 || to - from + 1 >= options.minLength);
  out.map(2);
  out.bulkText('matches');
  out.array(told.length);
  for (const { first, second } of told) {
    out.array(options.withLength ? 3 : 2);
    for (const [from, to] of [first, second]) {
      out.array(2);
      out.integer(from);
      out.integer(to);
    }
    if (options.withLength) out.integer(first[1] - first[0] + 1);
  }
  out.bulkText('len');
  out.integer(length);
}

export const LCS_COMMANDS: readonly CommandSpec[] = [
  { name: 'lcs', arity: -3, flags: ['readonly'], keys: [1, 2, 1], route: 'keys', run: lcs },
];
