/**
 * `npm run bench`: measures, beside references on the same machine in the same minutes, and says which targets hold.
 *
 *   npm run bench                     everything
 *   npm run bench -- ingest           over sockets: F1 F10 F10c F100 F10x200 W50 W200 W1 IDLE
 *   npm run bench -- ring             inside: RING SCAN MERGE
 *   npm run bench -- wal              the write-ahead log by itself: LOG FRAME
 *   npm run bench -- ingest-wal       what the log costs over sockets: F1-WAL F10-WAL W50-WAL W1-WAL, and ISO
 *   npm run bench -- ingest F10 W1    these scenarios only
 *     --json     one JSON object a line on stdout       --runs N   runs of each variant (default 5)
 *     --quick    short runs, to see that it works        --pin      generator on the last core, servers on the rest
 *
 * Figures on stdout, progress on stderr. Exit status 1 when a run was void, 2 for a wrong command line. A gate that
 * is not met is printed, not an error: the machine may simply be busy.
 */
import { pinningOfMachine, productExists } from './harness.ts';
import { type RunSettings, runIngest } from './ingest.bench.ts';
import { runIngestWal } from './ingest-wal.bench.ts';
import { jsonLines, tableText } from './report.ts';
import type { ScenarioResult } from './result.ts';
import { runRing } from './ring.bench.ts';
import { runWal } from './wal.bench.ts';

interface CommandLine extends RunSettings {
  readonly parts: ReadonlySet<string>;
  readonly json: boolean;
}

const SCENARIOS_OF_PARTS: Readonly<Record<string, readonly string[]>> = {
  ring: ['RING', 'SCAN', 'MERGE'],
  wal: ['LOG', 'FRAME'],
  ingest: ['F1', 'F10', 'F10c', 'F100', 'F10x200', 'W50', 'W200', 'W1', 'IDLE'],
  'ingest-wal': ['F1-WAL', 'F10-WAL', 'W50-WAL', 'W1-WAL', 'ISO'],
};
const PARTS = Object.keys(SCENARIOS_OF_PARTS);
const SCENARIO_NAMES = Object.values(SCENARIOS_OF_PARTS).flat();

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
    } else if (['--json', '--quick', '--pin'].includes(word)) flags.add(word);
    else if (PARTS.includes(word)) parts.add(word);
    else if (SCENARIO_NAMES.includes(word)) scenarios.add(word);
    else
      return `unknown word '${word}'; parts: ${PARTS.join(' ')}; scenarios: ${SCENARIO_NAMES.join(' ')}; flags: --json --quick --runs N --pin`;
  }
  return {
    parts: parts.size === 0 ? new Set(PARTS) : parts,
    scenarios: scenarios.size === 0 ? undefined : scenarios,
    json: flags.has('--json'),
    quick: flags.has('--quick'),
    runs,
    pinning: flags.has('--pin') ? pinningOfMachine() : undefined,
    progress: (line) => process.stderr.write(`${line}\n`),
  };
}

async function* measure(commandLine: CommandLine): AsyncGenerator<ScenarioResult> {
  if (commandLine.parts.has('ring')) yield* runRing(commandLine);
  if (commandLine.parts.has('wal')) yield* runWal(commandLine);
  if (commandLine.parts.has('ingest')) yield* runIngest(commandLine);
  if (commandLine.parts.has('ingest-wal')) yield* runIngestWal(commandLine);
}

async function main(): Promise<number> {
  const commandLine = parseCommandLine(process.argv.slice(2));
  if (typeof commandLine === 'string') {
    process.stderr.write(`${commandLine}\n`);
    return 2;
  }
  if (!productExists()) process.stderr.write('no server to measure: only the references run\n');
  let voidRuns = 0;
  for await (const result of measure(commandLine)) {
    voidRuns += result.voidRuns.length;
    process.stdout.write(
      commandLine.json
        ? jsonLines(result)
            .map((line) => `${line}\n`)
            .join('')
        : `${tableText(result)}\n`,
    );
  }
  if (voidRuns > 0) process.stderr.write(`${voidRuns} void runs: their figures are left out\n`);
  return voidRuns > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (cause) {
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
  process.exitCode = 1;
}
