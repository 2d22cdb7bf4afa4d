/**
 * What was measured in one look: Lattice divided by raw sockets that move the same bytes, and by each peer. Pure.
 *
 * Written into bench/RESULTS.md by `npm run bench`, and into README.md by `node scripts/readme.mjs`. A row names a scenario, the form
 * of Lattice and what it is divided by; a row of which nothing was measured is left out.
 *
 * Where the generator was as busy as it can be, the other could do more: then a ratio is a bound (≤ of rates, ≥ of times).
 */
import type { Measured, MeasuredVariant } from './measured.ts';
import { short } from './number-text.ts';

interface RawRow {
  readonly what: string;
  readonly scenario: string;
  readonly ours: string;
  readonly raw: string;
}

interface PeerRow {
  readonly what: string;
  readonly scenario: string;
  readonly ours: string;
  readonly figure: keyof typeof FIGURES;
  readonly peers: readonly string[];
}

/** Figures as a row says them, and whether little of them is good. */
const FIGURES = {
  opsPerSecond: { text: (value: number) => `${short(value)} a second`, isCost: false },
  opsPerCpuSecond: { text: (value: number) => `${short(value)} per CPU second`, isCost: false },
  p50Us: { text: (value: number) => `p50 ${short(value)} µs`, isCost: true },
  p99Us: { text: (value: number) => `p99 ${short(value)} µs`, isCost: true },
  rssBytesPerRecord: { text: (value: number) => `${short(value)} B a record`, isCost: true },
  loadMs: { text: (value: number) => `${short(value)} ms`, isCost: true },
  restartMs: { text: (value: number) => `${short(value)} ms`, isCost: true },
} as const;

/** Cores of the generator, which has one thread, from which on it is what bounds a run. */
const GENERATOR_BOUND_CORES = 0.85;

const TOLD = ['y-websocket', 'tinybase', 'automerge-repo', 'gun'];
const FAN_OUT = ['redis-pubsub', 'socket.io', 'y-websocket', 'hocuspocus', 'gun'];

const RAW_ROWS: readonly RawRow[] = [
  { what: '1 op a batch, 50 connections × 64 in flight', scenario: 'F1', ours: 'lattice', raw: 'raw' },
  { what: '… log off', scenario: 'F1', ours: 'log-off', raw: 'raw' },
  { what: '10 ops a batch, 50 × 32', scenario: 'F10', ours: 'lattice', raw: 'raw' },
  { what: '… log off', scenario: 'F10', ours: 'log-off', raw: 'raw' },
  { what: '10 ops a batch, 330 000 keys', scenario: 'F10c', ours: 'lattice', raw: 'raw' },
  { what: '… log off', scenario: 'F10c', ours: 'log-off', raw: 'raw' },
  { what: '100 ops a batch, 50 × 4', scenario: 'F100', ours: 'lattice', raw: 'raw' },
  { what: '… log off', scenario: 'F100', ours: 'log-off', raw: 'raw' },
  { what: '10 ops a batch, 200 connections × 8', scenario: 'F10x200', ours: 'lattice', raw: 'raw' },
  { what: '10 ops a batch, 50 connections wait for each ack', scenario: 'W50', ours: 'lattice', raw: 'raw' },
  { what: '10 ops a batch, one connection waits for each ack', scenario: 'W1', ours: 'lattice', raw: 'raw' },
  { what: '… gateway and worker in one thread', scenario: 'W1', ours: 'fused', raw: 'raw' },
  { what: 'Map events to 1000 subscribers, 500 writes/s', scenario: 'FAN-1000x500', ours: 'lattice-event', raw: 'raw-joined' },
  { what: 'Messages of a topic to 1000 subscribers, 500 a second', scenario: 'FAN-1000x500', ours: 'lattice-topic', raw: 'raw' },
  {
    what: 'A live query of 1000 subscribers, which brings the event, too',
    scenario: 'FAN-1000x500',
    ours: 'lattice-query',
    raw: 'raw',
  },
  { what: '1000 live queries of 50 rows, 500 updates/s', scenario: 'W4', ours: 'lattice', raw: 'raw' },
  { what: 'A client with nothing syncs 100 000 keys', scenario: 'SYNC-COLD', ours: 'lattice', raw: 'replay' },
  { what: '… when 1 % of them have changed', scenario: 'SYNC-1PCT', ours: 'lattice', raw: 'replay' },
];

const PEER_ROWS: readonly PeerRow[] = [
  row('Batches of 10, a server of one thread with a Map', 'F10', 'lattice', 'opsPerSecond', ['naive']),
  row('… one that posts decoded ops to worker threads', 'F10', 'lattice', 'opsPerSecond', ['pm']),
  row('GET of Redis, 16 in flight, nothing kept', 'RESP-GET-P16', 'alone', 'opsPerCpuSecond', ['redis']),
  row('SET of Redis, 16 in flight, nothing kept', 'RESP-SET-P16', 'alone', 'opsPerCpuSecond', ['redis']),
  row('… both log', 'RESP-SET-P16', 'lattice', 'opsPerCpuSecond', ['redis-everysec']),
  row('SET of Redis, 1 in flight, nothing kept', 'RESP-SET-P1', 'alone', 'opsPerCpuSecond', ['redis']),
  row('Merges, 100 connections, new keys (Redis merges nothing)', 'W2-UNIQUE100', 'lattice', 'opsPerCpuSecond', ['redis-hset']),
  row('… every connection told of the others’ writes', 'W2-UNIQUE100', 'lattice-told', 'opsPerSecond', TOLD),
  row('Merges, 100 connections, 1000 hot keys', 'W2-HOT100', 'lattice', 'opsPerCpuSecond', ['redis-hset']),
  row('… every connection told of the others’ writes', 'W2-HOT100', 'lattice-told', 'opsPerSecond', TOLD),
  row('One counter of 64 clients, INCR', 'W5-HOT', 'lattice-resp', 'opsPerCpuSecond', [
    'redis-no',
    'redis-everysec',
    'redis-always',
  ]),
  row('… a PN counter that tells all of them', 'W5-HOT', 'lattice-pn', 'opsPerCpuSecond', ['redis-everysec']),
  row('10 000 counters, INCR', 'W5-COLD', 'lattice-resp', 'opsPerCpuSecond', ['redis-no', 'redis-everysec', 'redis-always']),
  row('Map events to 100 subscribers, 500 writes/s', 'FAN-100x500', 'lattice-event', 'opsPerCpuSecond', FAN_OUT),
  row('Map events to 1000 subscribers, 50 writes/s', 'FAN-1000x50', 'lattice-event', 'opsPerCpuSecond', FAN_OUT),
  row('Map events to 1000 subscribers, 500 writes/s', 'FAN-1000x500', 'lattice-event', 'opsPerCpuSecond', FAN_OUT),
  row('… the time they take', 'FAN-1000x500', 'lattice-event', 'p99Us', FAN_OUT),
  row('Memory of a million records', 'W6', 'lattice', 'rssBytesPerRecord', ['redis', 'js-map', 'y-map', 'tinybase']),
  row('… from a restart to ready', 'W6', 'lattice', 'restartMs', ['redis']),
  row('Durable records, 1024 outstanding', 'LOG', 'log-1024', 'opsPerSecond', ['lmdb-1024', 'lmdb-overlap-1024']),
  row('Rows into Postgres, 5000 a transaction', 'FLUSH', 'lattice', 'opsPerSecond', ['multi-values', 'psql']),
];

function row(what: string, scenario: string, ours: string, figure: keyof typeof FIGURES, peers: readonly string[]): PeerRow {
  return { what, scenario, ours, figure, peers };
}

/** Two tables and when they were measured, in Markdown. */
export function ratioTables(measured: readonly Measured[]): string {
  return [
    measuredWhen(measured),
    '',
    'Lattice divided by the other; ≤ and ≥ where the generator was as busy as it can be, so that the other could do more.',
    '',
    '| Beside raw sockets | Lattice | per second ÷ raw | per CPU second ÷ raw | p50 ÷ raw | p99 ÷ raw |',
    '|---|---|---|---|---|---|',
    ...RAW_ROWS.flatMap((one) => rawLine(one, measured)),
    '',
    '| Beside peers | Lattice | ÷ each of them |',
    '|---|---|---|',
    ...PEER_ROWS.flatMap((one) => peerLine(one, measured)),
  ].join('\n');
}

/** Which sessions the shown scenarios are of, newest first. */
function measuredWhen(measured: readonly Measured[]): string {
  const shown = new Set([...RAW_ROWS, ...PEER_ROWS].map(({ scenario }) => scenario));
  const sessions = new Map(
    measured.filter(({ scenario }) => shown.has(scenario)).map(({ session }) => [session.startedAt, session]),
  );
  const newest = [...sessions.values()].sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1));
  const runs = newest.map(
    ({ startedAt, commit, quick }) => `${startedAt.slice(0, 10)} (${commit}${quick ? ', short runs' : ''})`,
  );
  const machines = newest.map(({ cpu, cores, node }) => `${cores} cores of ${cpu}, Node ${node.slice(1)}`);
  return `Measured on ${runs.join(', ')}; ${[...new Set(machines)].join('; ')}. Medians; \`lattice\` logs and has Postgres behind it.`;
}

function rawLine({ what, scenario, ours, raw }: RawRow, measured: readonly Measured[]): string[] {
  const [own, other] = [variantOf(measured, scenario, ours), variantOf(measured, scenario, raw)];
  if (own === undefined || other === undefined || !hasFigure(own, 'opsPerSecond')) return [];
  const ratios = (['opsPerSecond', 'opsPerCpuSecond', 'p50Us', 'p99Us'] as const).map((figure) => ratioText(own, other, figure));
  return [`| ${what} | ${FIGURES.opsPerSecond.text(medianOf(own, 'opsPerSecond'))} | ${ratios.join(' | ')} |`];
}

function peerLine({ what, scenario, ours, figure, peers }: PeerRow, measured: readonly Measured[]): string[] {
  const own = variantOf(measured, scenario, ours);
  if (own === undefined || !hasFigure(own, figure)) return [];
  const { text, isCost } = FIGURES[figure];
  const ratios = peers.map((peer) => `${peer} ${peerText(measured, own, { scenario, figure, peer })}`);
  return [`| ${what}${isCost ? ' (less is better)' : ''} | ${text(medianOf(own, figure))} | ${ratios.join(', ')} |`];
}

function peerText(
  measured: readonly Measured[],
  own: MeasuredVariant,
  { scenario, figure, peer }: Pick<PeerRow, 'scenario' | 'figure'> & { readonly peer: string },
): string {
  const other = variantOf(measured, scenario, peer);
  if (other !== undefined) return ratioText(own, other, figure);
  const isVoid = measured.some((one) => one.scenario === scenario && one.variants.some(({ name }) => name === peer));
  return isVoid ? 'void' : 'not run';
}

/** The variant with figures; undefined when it was not run, or all its runs were void. */
function variantOf(measured: readonly Measured[], scenario: string, name: string): MeasuredVariant | undefined {
  const variants = measured.find((one) => one.scenario === scenario)?.variants ?? [];
  return variants.find((variant) => variant.name === name && variant.runs > 0);
}

function hasFigure(variant: MeasuredVariant, figure: string): boolean {
  return Number.isFinite(medianOf(variant, figure));
}

function medianOf({ figures }: MeasuredVariant, figure: string): number {
  return figures[figure]?.median ?? Number.NaN;
}

function ratioText(own: MeasuredVariant, other: MeasuredVariant, figure: keyof typeof FIGURES): string {
  const ratio = medianOf(own, figure) / medianOf(other, figure);
  if (!Number.isFinite(ratio)) return '–';
  const isBound = figure !== 'opsPerCpuSecond' && medianOf(other, 'generatorCores') >= GENERATOR_BOUND_CORES;
  const sign = isBound ? (FIGURES[figure].isCost ? '≥ ' : '≤ ') : '';
  return `${sign}${Number(ratio.toPrecision(2))}`;
}
