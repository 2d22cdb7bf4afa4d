/**
 * Breaks a server on purpose and looks whether it keeps its word.
 *
 *   npm run chaos                                              all faults, a few cycles each, a minute
 *   npm run chaos -- --fault kill --cycles 200                 the long form of one
 *   npm run chaos -- --seed 42 --fault kill --cycles 200       the same again
 *   npm run chaos -- --fault kill --server wal=off --demand MEMORY      must fail: without a log a kill loses
 *
 * Exit status: 0 clean, 1 something acknowledged was lost or the server did not heal, 2 a mistake in the command line.
 */
import { parseArgs } from 'node:util';
import { Campaign, type Outcome } from './campaign.ts';
import { FAULTS } from './faults/faults.ts';
import { levelOf, UNKNOWN } from './levels.ts';
import { appendResult, chaosResult } from './results.ts';

const SHORT_CYCLES = 3;
const WRITERS = 20;

const OPTIONS = {
  seed: { type: 'string' },
  cycles: { type: 'string' },
  fault: { type: 'string', multiple: true },
  writers: { type: 'string' },
  server: { type: 'string', multiple: true },
  demand: { type: 'string' },
  keep: { type: 'boolean' },
  'no-record': { type: 'boolean' },
} as const;

process.exitCode = await main();

async function main(): Promise<number> {
  const parsed = parse();
  if (parsed === undefined) return 2;
  const { values, faults, seed, demand } = parsed;
  print(`seed ${seed}   (again: npm run chaos -- --seed ${seed}${faults.map(({ name }) => ` --fault ${name}`).join('')})`);
  const outcomes: Outcome[] = [];
  for (const fault of faults) {
    const beganMs = performance.now();
    const outcome = await new Campaign(fault, {
      seed,
      cycles: Number(values.cycles ?? SHORT_CYCLES),
      writers: Number(values.writers ?? WRITERS),
      flags: (values.server ?? []).flatMap(serverFlag),
      demand,
      keepsFolder: values.keep,
      isShort: values.cycles === undefined,
      log: print,
    }).run();
    outcomes.push(outcome);
    const seconds = (performance.now() - beganMs) / 1000;
    print(summary(outcome, seconds));
    // A run with other demands or options is an experiment, no proof.
    if (values['no-record'] !== true && demand === undefined && values.server === undefined && outcome.skipped === undefined)
      appendResult(chaosResult(outcome, seconds));
  }
  return outcomes.every(({ failures }) => failures === 0) ? 0 : 1;
}

function parse() {
  try {
    const { values } = parseArgs({ options: OPTIONS });
    const unknown = values.fault?.find((name) => !FAULTS.some((fault) => fault.name === name));
    if (unknown !== undefined)
      throw new Error(`no fault is called ${unknown}; there are ${FAULTS.map(({ name }) => name).join(', ')}`);
    const demand = values.demand === undefined ? undefined : levelOf(values.demand);
    if (demand === UNKNOWN) throw new Error(`no level is called ${values.demand}`);
    for (const name of ['seed', 'cycles', 'writers'] as const) {
      if (values[name] !== undefined && !/^\d+$/.test(values[name])) throw new Error(`--${name} takes a number`);
    }
    const faults = FAULTS.filter(({ name }) => values.fault === undefined || values.fault.includes(name));
    return { values, faults, demand, seed: Number(values.seed ?? Date.now() % 2 ** 31) };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  }
}

/** `wal=off` is the server's `--wal off`. */
function serverFlag(setting: string): string[] {
  const [name = '', ...value] = setting.split('=');
  return [`--${name}`, value.join('=')];
}

function summary(outcome: Outcome, seconds: number): string {
  const { fault, cycles, sent, levels, refused, failures, notes, skipped } = outcome;
  if (skipped !== undefined) return `${fault}: SKIPPED, ${skipped}`;
  const counts = (amounts: Readonly<Record<string, number>>): string =>
    Object.entries(amounts)
      .map(([name, amount]) => `${name} ${amount}`)
      .join(', ');
  const verdict = failures === 0 ? 'clean' : `${failures} FAILURES`;
  return [
    `${fault}: ${verdict}, ${cycles} cycles in ${Math.round(seconds)} s, ${sent} ops sent`,
    `  acknowledged: ${counts(levels)}`,
    ...(Object.keys(refused).length > 0 ? [`  refused: ${counts(refused)}`] : []),
    ...(Object.keys(notes).length > 0 ? [`  ${counts(notes)}`] : []),
  ].join('\n');
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
