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
 *     --page     bench/RESULTS.md from short runs or fewer than five, too; full runs always write it
 *
 * Figures on stdout, progress on stderr. Exit status 1 when a run of Lattice or of raw sockets was void, 2 for a wrong
 * command line. A gate that is not met is printed, not an error: the machine may simply be busy. Nor is a void run of a peer one:
 * some of them lose writes.
 */
import { parseCommandLine } from './command-line.ts';
import { productExists } from './harness.ts';
import { type Measured, measuredOf } from './page/measured.ts';
import { sessionOfNow } from './page/results-store.ts';
import { isLattice, isRaw } from './page/sides.ts';
import { writePage } from './page/write-page.ts';
import { PARTS } from './parts.ts';
import { jsonLines, tableText } from './report.ts';
import { messageOf } from './void-run.ts';

async function main(): Promise<number> {
  const commandLine = parseCommandLine(process.argv.slice(2), PARTS, (line) => process.stderr.write(`${line}\n`));
  if (typeof commandLine === 'string') {
    process.stderr.write(`${commandLine}\n`);
    return 2;
  }
  if (!productExists()) process.stderr.write('no server to measure: only the references run\n');
  const session = sessionOfNow(commandLine.isShort);
  const voidRuns: string[] = [];
  for (const part of PARTS.filter(({ name }) => commandLine.parts.has(name))) {
    const measured: Measured[] = [];
    for await (const result of part.run(commandLine)) {
      voidRuns.push(...result.voidRuns.map(({ variant }) => variant));
      measured.push(measuredOf(part.name, result, session));
      const text = commandLine.json ? jsonLines(result).join('\n') : tableText(result);
      process.stdout.write(`${text}\n`);
    }
    // After each part: a run of an hour may be ended early.
    if (commandLine.page) commandLine.progress(`written: ${await writePage(measured, commandLine.progress)}`);
  }
  if (voidRuns.length > 0) process.stderr.write(`${voidRuns.length} void runs: their figures are left out\n`);
  return voidRuns.some((variant) => isLattice(variant) || isRaw(variant)) ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (cause) {
  process.stderr.write(`${messageOf(cause)}\n`);
  process.exitCode = 1;
}
