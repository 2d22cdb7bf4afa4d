/**
 * bench/RESULTS.md as text: where and how it was measured, then each part with its plot, its tables and its verdicts. Pure.
 *
 * Losing results stand like winning ones, void runs are named with their reasons, and what was not run says why.
 */
import { labelOf } from '../figure-labels.ts';
import { short, timeText } from '../number-text.ts';
import type { Measured, MeasuredVariant, MeasuredVerdict, Session } from './measured.ts';
import { ratioTables } from './ratio-tables.ts';

/** A part of the benchmark, for people. */
export interface PagePart {
  readonly name: string;
  readonly title: string;
  /** What is done, and what it is compared with. */
  readonly about: string;
}

/** Figures with a column of their own, where a variant has them. */
const COLUMNS: readonly (readonly [figure: string, heading: string])[] = [
  ['opsPerSecond', 'per second'],
  ['opsPerCpuSecond', 'per CPU second of the server'],
  ['p50Us', 'p50'],
  ['p99Us', 'p99'],
  ['serverCores', 'server cores'],
  ['rssMb', 'server RSS MB'],
];
/** Parts that measure pieces inside one process. */
const PARTS_WITHOUT_SERVER: ReadonlySet<string> = new Set(['ring', 'wal']);
const NAMED = new Set(COLUMNS.map(([figure]) => figure));
const TIMES_US: ReadonlySet<string> = new Set(['p50Us', 'p99Us']);

/** @param plots path of the plot of a part, as the page links it. */
export function resultsPage(
  parts: readonly PagePart[],
  measured: readonly Measured[],
  plots: ReadonlyMap<string, string>,
): string {
  const shown = parts.filter(({ name }) => measured.some(({ part }) => part === name));
  return [
    '# Benchmarks',
    '',
    'Written by `npm run bench`; do not edit it. Every figure is the median of its runs, with the smallest and the largest in brackets.',
    '',
    '## How to read it',
    '',
    '* Runs of the variants of a scenario alternate, on one machine, in the same minutes. Compare columns of one scenario, not days or machines.',
    '* `lattice` is the server as it starts when nobody sets anything: log on, synced each 10 ms, Postgres behind it. What the other forms are',
    '  stands at each part; `alone` has neither log nor Postgres, `log-off` no log, `fused` gateway and worker in one thread.',
    '* `raw` is a uWebSockets.js server with nothing behind it that moves the same bytes: the speed of the sockets. The ratio to it is what the',
    '  machine’s noise touches least; per CPU second (of the server process and its threads, from /proc) is steadier than per second. Postgres is a',
    '  process of its own: its cores are among the further figures.',
    '* Each row says what it is divided by. A ratio marked `(wall)` is per second: CPU was not measured there.',
    '* What must be reached and what is aimed at, and why not where it is not: [docs/PERFORMANCE.md](../docs/PERFORMANCE.md).',
    '* Servers stay up from one scenario of a part to the next: their memory is that of all they were sent up to then.',
    '* On four cores or more (on fewer with `--pin`) the generator has a core to itself and servers the others; on two they share both. Loads on a',
    '  schedule are looked at each millisecond: up to that much is in every latency of theirs, of all variants alike.',
    '* The generator shares the cores with the server; from 0.85 cores on (`generator cores`) it is taken to be what bounds the run.',
    '* A run in which not everything that was sent was applied or delivered in time is void: it is left out of figures and plots, and named. It is',
    '  not made up for, so `runs` may be less than five; in the fan-out a variant with two void runs is not tried again.',
    '* Of each scenario the newest session is shown: the table below says when, and of which commit, each was run.',
    '',
    '## In one look',
    '',
    ratioTables(measured),
    '',
    '## What was measured',
    '',
    ...sessionsTable(measured),
    '',
    ...shown.flatMap((part) => section(part, measured, plots.get(part.name))),
  ].join('\n');
}

function sessionsTable(measured: readonly Measured[]): string[] {
  const sessions = new Map<string, { session: Session; scenarios: string[] }>();
  for (const { session, scenario } of measured) {
    const known = sessions.get(session.startedAt);
    if (known === undefined) sessions.set(session.startedAt, { session, scenarios: [scenario] });
    else known.scenarios.push(scenario);
  }
  return [
    '| Date | Commit | Machine | System | Node | Peers | Runs | Scenarios |',
    '|---|---|---|---|---|---|---|---|',
    ...[...sessions.values()].map(({ session, scenarios }) => {
      const { startedAt, commit, cpu, cores, memoryGb, system, node, peers, quick } = session;
      const versions = Object.entries(peers).map(([name, version]) => `${name} ${version}`);
      return `| ${startedAt.slice(0, 16).replace('T', ' ')} | ${commit} | ${cpu}, ${cores} cores, ${memoryGb} GB | ${system} | ${node} | ${versions.join(', ') || '–'} | ${quick ? 'short' : 'full'} | ${scenarios.join(' ')} |`;
    }),
  ];
}

function section(part: PagePart, all: readonly Measured[], plot: string | undefined): string[] {
  const measured = all.filter((scenario) => scenario.part === part.name);
  return [
    `## ${part.title}`,
    '',
    part.about,
    '',
    ...(plot === undefined ? [] : [`![${part.title}](${plot})`, '']),
    ...measured.flatMap(scenarioLines),
  ];
}

function scenarioLines({ part, scenario, title, variants, unmeasured, verdicts, notJudged = [] }: Measured): string[] {
  const columns = COLUMNS.filter(([figure]) => variants.some(({ figures }) => figures[figure] !== undefined));
  const hasRatios = variants.some(({ ratioPerCpu, ratioWall }) => ratioPerCpu !== null || ratioWall !== null);
  const headings = [
    ...columns.map((column) => headingOf(column, part)),
    ...(hasRatios ? ['of its reference, per CPU'] : []),
    'runs',
  ];
  const judged = [
    ...verdicts.map(verdictLine),
    ...notJudged.map(({ label, reason }) => `* ${label}: **not judged**, ${escaped(reason)}`),
  ];
  return [
    `### ${scenario}: ${title}`,
    '',
    `| | ${headings.join(' | ')} |`,
    `|---|${'---|'.repeat(headings.length)}`,
    ...variants.map((variant) => row(variant, columns, hasRatios)),
    ...unmeasured.map(({ variant, reason }) => `| ${variant} | ${'| '.repeat(headings.length - 1)}not run: ${escaped(reason)} |`),
    '',
    ...furtherFigures(variants),
    ...voidLines(variants),
    ...(judged.length === 0 ? [] : [...judged, '']),
  ];
}

/** What has no column, folded: a row a figure. */
function furtherFigures(variants: readonly MeasuredVariant[]): string[] {
  const measured = variants.filter(({ figures }) => Object.keys(figures).some((figure) => !NAMED.has(figure)));
  const figures = new Set(measured.flatMap((variant) => Object.keys(variant.figures)).filter((figure) => !NAMED.has(figure)));
  if (figures.size === 0) return [];
  return [
    '<details><summary>Further figures</summary>',
    '',
    `| | ${measured.map(({ name }) => name).join(' | ')} |`,
    `|---|${'---|'.repeat(measured.length)}`,
    ...[...figures].map(
      (figure) => `| ${labelOf(figure)} | ${measured.map((variant) => spreadText(variant, figure)).join(' | ')} |`,
    ),
    '',
    '</details>',
    '',
  ];
}

function headingOf([figure, heading]: readonly [string, string], part: string): string {
  return figure === 'opsPerCpuSecond' && PARTS_WITHOUT_SERVER.has(part) ? 'per CPU second' : heading;
}

function row(variant: MeasuredVariant, columns: readonly (readonly [string, string])[], hasRatios: boolean): string {
  const cells = columns.map(([figure]) => spreadText(variant, figure));
  if (hasRatios) cells.push(ratioText(variant));
  const runs = variant.voidRuns.length === 0 ? `${variant.runs}` : `${variant.runs}, ${variant.voidRuns.length} void`;
  return `| ${[variant.name, ...cells, runs].join(' | ')} |`;
}

/** By time, where CPU was not measured, and marked so. */
function ratioText({ name, reference, ratioPerCpu, ratioWall }: MeasuredVariant): string {
  const ratio = ratioPerCpu ?? ratioWall;
  if (ratio === null || reference === undefined) return '–';
  if (reference === name) return 'reference';
  return `${short(ratio)} of ${reference}${ratioPerCpu === null ? ' (wall)' : ''}`;
}

function voidLines(variants: readonly MeasuredVariant[]): string[] {
  const lines = variants.flatMap(({ name, voidRuns }) => voidRuns.map((reason) => `* a run of ${name} was ${escaped(reason)}`));
  return lines.length === 0 ? [] : [...lines, ''];
}

function verdictLine({ label, measured, sign, gate, stretch, gateMet, stretchMet }: MeasuredVerdict): string {
  const gateText = gate === null ? '' : `, must be ${sign} ${gate}: ${gateMet === true ? 'met' : '**missed**'}`;
  return `* ${label} = ${short(measured)}${gateText}; aimed at ${sign} ${stretch}: ${stretchMet ? 'reached' : 'not reached'}`;
}

function spreadText({ figures }: MeasuredVariant, figure: string): string {
  const spread = figures[figure];
  if (spread === undefined || !Number.isFinite(spread.median)) return '–';
  const text = TIMES_US.has(figure) ? timeText : short;
  return `${text(spread.median)} (${text(spread.min)}–${text(spread.max)})`;
}

function escaped(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
