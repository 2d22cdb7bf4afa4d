/** The words behind `npm run bench --`, which main.ts lists. */
import type { RunSettings } from './ingest.bench.ts';
import { pinningOf } from './pinning.ts';

/** What can be asked for by name. */
interface NamedPart {
  readonly name: string;
  readonly scenarios: readonly string[];
}

export interface CommandLine extends RunSettings {
  readonly parts: ReadonlySet<string>;
  readonly json: boolean;
  /** Write bench/RESULTS.md: always, save for short runs that did not ask for it. */
  readonly page: boolean;
  /** Too short, or too few runs, to be quoted. */
  readonly isShort: boolean;
}

const FLAGS = ['--json', '--quick', '--pin', '--page'];
const RUNS = 5;

/** What the words ask for, or what is wrong with them. */
export function parseCommandLine(
  words: readonly string[],
  known: readonly NamedPart[],
  progress: (line: string) => void,
): CommandLine | string {
  const parts = new Set<string>();
  const scenarios = new Set<string>();
  const flags = new Set<string>();
  let runs = RUNS;
  for (let index = 0; index < words.length; index++) {
    const word = words[index] as string;
    if (word === '--runs') {
      index += 1;
      runs = Number(words[index]);
      if (!(Number.isInteger(runs) && runs >= 1 && runs <= 100)) return '--runs takes a number from 1 to 100';
    } else if (FLAGS.includes(word)) flags.add(word);
    else if (known.some(({ name }) => name === word)) parts.add(word);
    else if (known.some((part) => part.scenarios.includes(word))) scenarios.add(word);
    else return unknownWord(word, known);
  }
  const quick = flags.has('--quick');
  const isShort = quick || runs < RUNS;
  return {
    parts: parts.size === 0 ? partsOf(scenarios, known) : parts,
    scenarios: scenarios.size === 0 ? undefined : scenarios,
    json: flags.has('--json'),
    page: flags.has('--page') || !isShort,
    quick,
    isShort,
    runs,
    pinning: pinningOf(flags.has('--pin')),
    progress,
  };
}

/** The parts that have the scenarios; all of them when none is named. */
function partsOf(scenarios: ReadonlySet<string>, known: readonly NamedPart[]): ReadonlySet<string> {
  const wanted = known.filter((part) => scenarios.size === 0 || part.scenarios.some((name) => scenarios.has(name)));
  return new Set(wanted.map(({ name }) => name));
}

function unknownWord(word: string, known: readonly NamedPart[]): string {
  const parts = known.map(({ name }) => name).join(' ');
  const scenarios = known.flatMap((part) => part.scenarios).join(' ');
  return `unknown word '${word}'; parts: ${parts}; scenarios: ${scenarios}; flags: ${FLAGS.join(' ')} --runs N`;
}
