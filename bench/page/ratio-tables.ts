/**
 * What was measured in one look: Lattice divided by raw sockets that move the same bytes, and by each peer. Pure.
 *
 * Written into bench/RESULTS.md by `npm run bench`, and into README.md by `node scripts/readme.mjs`. A row names a scenario, the form
 * of Lattice and what it is divided by; a row of which nothing was measured is left out.
 *
 *   the generator was as busy as it can be beside the other   the other could do more: ≤ of rates, ≥ of times
 *   … beside Lattice                                          Lattice could do more: ≥ of rates, ≤ of times
 *   … beside both                                             ~
 *
 * On a schedule everybody who keeps up has the same rate, which says nothing; and who does not has times that grow with the window.
 */
import { short, timeText } from '../number-text.ts';
import { type Measured, machineOf, type MeasuredVariant, type Session } from './measured.ts';

interface RawRow {
  readonly what: string;
  readonly scenario: string;
  readonly ours: string;
  readonly raw: string;
  /** Sent on a schedule: of each message of raw sockets, Lattice owes so many. */
  readonly owedPerMessage?: number;
  /** The client, which is the same beside both, is what bounds them. */
  readonly isClientBound?: boolean;
}

interface PeerRow {
  readonly what: string;
  readonly scenario: string;
  readonly ours: string;
  readonly figure: keyof typeof FIGURES;
  readonly peers: readonly string[];
  /** Sent on a schedule: who has less than this variant's rate did not keep up. */
  readonly pace?: string;
}

/** Figures as a row says them, and whether little of them is good. */
const FIGURES = {
  opsPerSecond: { text: (value: number) => `${short(value)} a second`, isCost: false },
  opsPerCpuSecond: { text: (value: number) => `${short(value)} per CPU second`, isCost: false },
  p50Us: { text: (value: number) => `p50 ${timeText(value)}`, isCost: true },
  p99Us: { text: (value: number) => `p99 ${timeText(value)}`, isCost: true },
  rssBytesPerRecord: { text: (value: number) => `${short(value)} B a record`, isCost: true },
  restartMs: { text: (value: number) => timeText(value * 1000), isCost: true },
} as const;

/** Cores of the generator, which has one thread, from which on it is what bounds a run. */
const GENERATOR_BOUND_CORES = 0.85;
const ELSEWHERE = '†';
/** Of the rate of a schedule: who has less does not keep up. */
const KEPT_UP = 0.95;

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
  { what: 'Merges, 100 connections, new keys', scenario: 'W7-UNIQUE', ours: 'lattice', raw: 'raw' },
  { what: '… neither log nor Postgres', scenario: 'W7-UNIQUE', ours: 'alone', raw: 'raw' },
  paced('Merges, 100 connections, new keys, 20 000 ops/s on a schedule', 'W7-PACED', 'lattice', 'raw'),
  { what: '10 000 PN counters of 64 clients', scenario: 'W5-COLD', ours: 'lattice-pn', raw: 'raw' },
  {
    what: 'GET of Redis, 16 in flight, nothing kept (raw: as WebSocket frames)',
    scenario: 'RESP-GET-P16',
    ours: 'alone',
    raw: 'raw',
  },
  { what: '… beside Node’s own sockets, which the door stands on', scenario: 'RESP-GET-P16', ours: 'alone', raw: 'raw-net' },
  {
    what: 'SET of Redis, 16 in flight, in the log (raw: as WebSocket frames)',
    scenario: 'RESP-SET-P16',
    ours: 'lattice',
    raw: 'raw',
  },
  paced(
    '20 000 ops/s over 9 990 connections, neither log nor Postgres',
    'SCALE-CONNS',
    '9990-connections',
    'raw-9990-connections',
  ),
  paced('Map events to 100 subscribers, 500 writes/s', 'FAN-100x500', 'lattice-event', 'raw-joined'),
  paced('Map events to 1000 subscribers, 500 writes/s', 'FAN-1000x500', 'lattice-event', 'raw-joined'),
  paced('Messages of a topic to 1000 subscribers, 500 a second', 'FAN-1000x500', 'lattice-topic', 'raw-joined'),
  paced('A live query of 1000 subscribers and the events, 50 writes/s', 'FAN-1000x50', 'lattice-query', 'raw-joined', 2),
  paced('A live query of 1000 subscribers and the events, 500 writes/s', 'FAN-1000x500', 'lattice-query', 'raw-joined', 2),
  paced('1000 live queries of 50 rows, 500 updates/s', 'W4', 'lattice', 'raw'),
  {
    what: 'A client with nothing syncs 100 000 keys',
    scenario: 'SYNC-COLD',
    ours: 'lattice',
    raw: 'replay',
    isClientBound: true,
  },
  {
    what: '… when 1 % of them have changed (all records of the leaves that differ)',
    scenario: 'SYNC-1PCT',
    ours: 'lattice',
    raw: 'replay',
    isClientBound: true,
  },
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
  row(
    'Merges, 100 connections, 1000 hot keys, of which nearly all lose (Redis stores each)',
    'W2-HOT100',
    'lattice',
    'opsPerCpuSecond',
    ['redis-hset'],
  ),
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
  { ...row('… the time they take', 'FAN-1000x500', 'lattice-event', 'p99Us', FAN_OUT), pace: 'raw-joined' },
  row('Memory of a million records, without that of Postgres', 'W6', 'lattice', 'rssBytesPerRecord', [
    'redis',
    'js-map',
    'y-map',
    'tinybase',
  ]),
  row('… from a restart to ready', 'W6', 'lattice', 'restartMs', ['redis']),
  row('Durable records, 1024 outstanding', 'LOG', 'log-1024', 'opsPerSecond', ['lmdb-1024', 'lmdb-overlap-1024']),
  row('Rows into Postgres, 5000 a transaction', 'FLUSH', 'lattice', 'opsPerSecond', ['multi-values', 'psql']),
];

function paced(what: string, scenario: string, ours: string, raw: string, owedPerMessage = 1): RawRow {
  return { what, scenario, ours, raw, owedPerMessage };
}

function row(what: string, scenario: string, ours: string, figure: keyof typeof FIGURES, peers: readonly string[]): PeerRow {
  return { what, scenario, ours, figure, peers };
}

/** Two tables and when they were measured, in Markdown. */
export function ratioTables(measured: readonly Measured[]): string {
  return [
    measuredWhen(measured),
    '',
    'Lattice divided by the other. Where the generator was as busy as it can be, a ratio is a bound (≤, ≥), and an estimate (~) when it was so beside both. CPU and memory are those of the server’s process; its Postgres, where it has one, is another, whose CPU and memory the page has.',
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
  const newest = newestFirst([...sessions.values()]);
  const machines = [...new Set(newest.map(machineOf))];
  const texts = machines.map((machine) => {
    const runs = newest.filter((session) => machineOf(session) === machine).map(sessionText);
    return `${[...new Set(runs)].join(', ')}; ${machine}`;
  });
  return `Measured on ${texts.join(`; rows with ${ELSEWHERE} on `)}. Medians; \`lattice\` logs and has Postgres behind it.`;
}

function newestFirst(sessions: readonly Session[]): Session[] {
  return [...sessions].sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1));
}

/** Behind rows of another machine than that of the newest session: their figures are not to be compared with those of other rows. */
function markOf(scenario: string, measured: readonly Measured[]): string {
  const [newest] = newestFirst(measured.map(({ session }) => session));
  const own = measured.find((one) => one.scenario === scenario)?.session;
  return newest === undefined || own === undefined || machineOf(own) === machineOf(newest) ? '' : ` ${ELSEWHERE}`;
}

function sessionText({ startedAt, commit, quick }: Session): string {
  return `${startedAt.slice(0, 10)} (${commit}${quick ? ', short runs' : ''})`;
}

function rawLine(row: RawRow, measured: readonly Measured[]): string[] {
  const { what, scenario, ours, raw, owedPerMessage } = row;
  const [own, other] = [variantOf(measured, scenario, ours), variantOf(measured, scenario, raw)];
  if (own === undefined || other === undefined || !hasFigure(own, 'opsPerSecond')) return [];
  const owed = owedPerMessage === undefined ? Number.NaN : medianOf(other, 'opsPerSecond') * owedPerMessage;
  const kept = medianOf(own, 'opsPerSecond') / owed;
  const rate = owedPerMessage === undefined ? ratioText(own, other, 'opsPerSecond', row) : keptText(kept);
  const times = (['p50Us', 'p99Us'] as const).map((figure) => (kept < KEPT_UP ? '–' : ratioText(own, other, figure)));
  const cells = [
    FIGURES.opsPerSecond.text(medianOf(own, 'opsPerSecond')),
    rate,
    ratioText(own, other, 'opsPerCpuSecond'),
    ...times,
  ];
  return [`| ${what}${markOf(scenario, measured)} | ${cells.join(' | ')} |`];
}

/** @param kept what was done of what was due, 0 to 1 */
function keptText(kept: number): string {
  return kept < KEPT_UP ? `${Number(kept.toPrecision(2))} of what was due` : 'keeps up';
}

function peerLine(row: PeerRow, measured: readonly Measured[]): string[] {
  const { what, scenario, ours, figure, peers } = row;
  const own = variantOf(measured, scenario, ours);
  if (own === undefined || !hasFigure(own, figure)) return [];
  const { text, isCost } = FIGURES[figure];
  const ratios = peers.map((peer) => `${peer} ${peerText(measured, own, row, peer)}`);
  return [
    `| ${what}${isCost ? ' (less is better)' : ''}${markOf(scenario, measured)} | ${text(medianOf(own, figure))} | ${ratios.join(', ')} |`,
  ];
}

function peerText(
  measured: readonly Measured[],
  own: MeasuredVariant,
  { scenario, figure, pace }: PeerRow,
  peer: string,
): string {
  const other = variantOf(measured, scenario, peer);
  if (other === undefined) {
    const isVoid = measured.some((one) => one.scenario === scenario && one.variants.some(({ name }) => name === peer));
    return isVoid ? 'void' : 'not run';
  }
  const pacing = pace === undefined ? undefined : variantOf(measured, scenario, pace);
  const kept = pacing === undefined ? 1 : medianOf(other, 'opsPerSecond') / medianOf(pacing, 'opsPerSecond');
  return kept < KEPT_UP ? `did ${keptText(kept)}` : ratioText(own, other, figure);
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

function ratioText(
  own: MeasuredVariant,
  other: MeasuredVariant,
  figure: keyof typeof FIGURES,
  { isClientBound = false }: Pick<RawRow, 'isClientBound'> = {},
): string {
  const ratio = medianOf(own, figure) / medianOf(other, figure);
  if (!Number.isFinite(ratio)) return '–';
  const bounds = { own: isBound(own), other: isBound(other) || isClientBound };
  const sign = figure === 'opsPerCpuSecond' ? '' : signOf(bounds, FIGURES[figure].isCost);
  return `${sign}${Number(ratio.toPrecision(2))}`;
}

/** True when the generator was what bounded the variant's runs. */
function isBound(variant: MeasuredVariant): boolean {
  return medianOf(variant, 'generatorCores') >= GENERATOR_BOUND_CORES;
}

function signOf({ own, other }: { readonly own: boolean; readonly other: boolean }, isCost: boolean): string {
  if (own && other) return '~ ';
  if (own) return isCost ? '≤ ' : '≥ ';
  if (other) return isCost ? '≥ ' : '≤ ';
  return '';
}
