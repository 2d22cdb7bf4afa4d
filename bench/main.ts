/**
 * `npm run bench`: measures, beside references on the same machine in the same minutes, and says which targets hold.
 *
 *   npm run bench                     everything
 *   npm run bench -- ingest           over sockets: F1 F10 F10c F100 F10x200 W50 W200 W1 IDLE
 *   npm run bench -- fan-out          one writer, many subscribers: FAN-<subscribers>x<writes a second>
 *   npm run bench -- live-query       a thousand live queries while rows change: W4
 *   npm run bench -- resp             Redis commands beside redis-server: RESP-<GET|SET|INCR>-P<1|16>
 *   npm run bench -- merge-ingest     merges from 100 and 200 connections at every level, and peers: W2-UNIQUE100 … W2-PACED
 *   npm run bench -- counters         one hot counter and 10 000 cold ones: W5-HOT W5-COLD
 *   npm run bench -- write-behind     Postgres behind merges at full speed: W7-UNIQUE W7-PACED W7-HOT
 *   npm run bench -- flush            rows into Postgres, 5000 a transaction: FLUSH FLUSH-BYTES
 *   npm run bench -- scaling          cost by threads, keys and connections: SCALE-THREADS SCALE-KEYS SCALE-CONNS
 *   npm run bench -- ring             inside: RING SCAN MERGE
 *   npm run bench -- memory           a million records: memory, load, restart: W6
 *   npm run bench -- cold-sync        a client that catches up: SYNC-COLD SYNC-1PCT
 *   npm run bench -- wal              the write-ahead log by itself: LOG FRAME
 *   npm run bench -- ingest-wal       what the log costs over sockets: F1-WAL F10-WAL W50-WAL W1-WAL, and ISO
 *   npm run bench -- ingest F10 W1    these scenarios only
 *     --json     one JSON object a line on stdout       --runs N   runs of each variant (default 5)
 *     --quick    short runs, to see that it works        --pin      generator on the last core, servers on the rest: as on four cores or more
 *     --page     bench/RESULTS.md from short runs, too; full runs always write it
 *
 * Figures on stdout, progress on stderr. Exit status 1 when a run was void, 2 for a wrong command line. A gate that
 * is not met is printed, not an error: the machine may simply be busy.
 */
import { productExists } from './harness.ts';
import type { RunSettings } from './ingest.bench.ts';
import { type Measured, measuredOf } from './page/measured.ts';
import { sessionOfNow } from './page/results-store.ts';
import { writePage } from './page/write-page.ts';
import { PARTS } from './parts.ts';
import { pinningOf } from './pinning.ts';
import { jsonLines, tableText } from './report.ts';
import { messageOf } from './void-run.ts';

interface CommandLine extends RunSettings {
  readonly parts: ReadonlySet<string>;
  readonly json: boolean;
  /** Write bench/RESULTS.md: always, save for short runs that did not ask for it. */
  readonly page: boolean;
}

const PART_NAMES = PARTS.map(({ name }) => name);
const SCENARIO_NAMES = PARTS.flatMap(({ scenarios }) => scenarios);

function parseCommandLine(words: readonly string[]): CommandLine | string {
  const parts = new Set<string>();
  const scenarios = new Set<string>();
  let runs = 5;
  const flags = new Set<string>();
  for (let index = 0; index < words.length; index++) {
    const word = words[index] as string;
    if (word === '--runs') {
      index += 1;
      runs = Number(words[index]);
      if (!(Number.isInteger(runs) && runs >= 1 && runs <= 100)) return '--runs takes a number from 1 to 100';
    } else if (['--json', '--quick', '--pin', '--page'].includes(word)) flags.add(word);
    else if (PART_NAMES.includes(word)) parts.add(word);
    else if (SCENARIO_NAMES.includes(word)) scenarios.add(word);
    else
      return `unknown word '${word}'; parts: ${PART_NAMES.join(' ')}; scenarios: ${SCENARIO_NAMES.join(' ')}; flags: --json --quick --runs N --pin --page`;
  }
  return {
    parts: parts.size === 0 ? partsOf(scenarios) : parts,
    scenarios: scenarios.size === 0 ? undefined : scenarios,
    json: flags.has('--json'),
    page: flags.has('--page') || !flags.has('--quick'),
    quick: flags.has('--quick'),
    runs,
    pinning: pinningOf(flags.has('--pin')),
    progress: (line) => process.stderr.write(`${line}\n`),
  };
}

/** The parts that have the scenarios; all of them when none is named. */
function partsOf(scenarios: ReadonlySet<string>): ReadonlySet<string> {
  const wanted = PARTS.filter((part) => scenarios.size === 0 || part.scenarios.some((name) => scenarios.has(name)));
  return new Set(wanted.map(({ name }) => name));
}

async function main(): Promise<number> {
  const commandLine = parseCommandLine(process.argv.slice(2));
  if (typeof commandLine === 'string') {
    process.stderr.write(`${commandLine}\n`);
    return 2;
  }
  if (!productExists()) process.stderr.write('no server to measure: only the references run\n');
  const session = sessionOfNow(commandLine.quick);
  let voidRuns = 0;
  for (const part of PARTS.filter(({ name }) => commandLine.parts.has(name))) {
    const measured: Measured[] = [];
    for await (const result of part.run(commandLine)) {
      voidRuns += result.voidRuns.length;
      measured.push(measuredOf(part.name, result, session));
      const text = commandLine.json ? jsonLines(result).join('\n') : tableText(result);
      process.stdout.write(`${text}\n`);
    }
    // After each part: a run of an hour may be ended early.
    if (commandLine.page) commandLine.progress(`written: ${await writePage(measured, commandLine.progress)}`);
  }
  if (voidRuns > 0) process.stderr.write(`${voidRuns} void runs: their figures are left out\n`);
  return voidRuns > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (cause) {
  process.stderr.write(`${messageOf(cause)}\n`);
  process.exitCode = 1;
}
