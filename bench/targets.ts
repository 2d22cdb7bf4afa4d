/**
 * What is aimed at: gates (must be met) and stretch goals, as bounds on medians of runs in one session.
 *
 * A bound is on a ratio to a reference that ran in between, a difference to it, or a plain value. Where noise is
 * shared by product and reference, the ratio drops it.
 */
import type { ScenarioResult } from './result.ts';

type Comparison = 'ratio' | 'difference' | 'value';

/** One bound. */
export interface Target {
  readonly scenario: string;
  readonly label: string;
  readonly figure: string;
  readonly variant: string;
  readonly comparison: Comparison;
  readonly reference?: string;
  readonly direction: 'least' | 'most';
  /** Must be met; undefined where there is only a goal. */
  readonly gate: number | undefined;
  readonly stretch: number;
}

/** A bound held against a result. */
export interface Verdict {
  readonly target: Target;
  readonly measured: number;
  /** Undefined without a gate. */
  readonly gateMet: boolean | undefined;
  readonly stretchMet: boolean;
}

const CPU = 'opsPerCpuSecond';
const WALL = 'opsPerSecond';

/** The prototype that the bounds were taken from had no log: as it, the product with its log off. */
function withoutLog(scenario: string, wall: [number, number], perCpu: [number, number]): Target[] {
  return [
    atLeast(scenario, 'log off, rate ÷ raw', WALL, 'log-off', 'raw', wall),
    atLeast(scenario, 'log off, per CPU ÷ raw', CPU, 'log-off', 'raw', perCpu),
  ];
}

function atLeast(
  scenario: string,
  label: string,
  figure: string,
  variant: string,
  reference: string,
  bounds: [number | undefined, number],
): Target {
  return {
    scenario,
    label,
    figure,
    variant,
    reference,
    comparison: 'ratio',
    direction: 'least',
    gate: bounds[0],
    stretch: bounds[1],
  };
}

export const TARGETS: readonly Target[] = [
  atLeast('F1', 'rate ÷ raw', WALL, 'lattice', 'raw', [0.45, 0.65]),
  atLeast('F1', 'per CPU ÷ raw', CPU, 'lattice', 'raw', [0.25, 0.37]),
  atLeast('F10', 'rate ÷ raw', WALL, 'lattice', 'raw', [0.18, 0.28]),
  atLeast('F10', 'per CPU ÷ raw', CPU, 'lattice', 'raw', [0.1, 0.16]),
  atLeast('F10', 'rate ÷ naive', WALL, 'lattice', 'naive', [3.5, 5.5]),
  atLeast('F10', 'per CPU ÷ naive', CPU, 'lattice', 'naive', [2.3, 3.5]),
  atLeast('F10', 'rate ÷ postMessage', WALL, 'lattice', 'pm', [5, 8]),
  // Expected of a scan and a merge in WebAssembly alone.
  ...(['lattice', 'log-off'] as const).flatMap((variant) => [
    atLeast('F10', `${variant}, rate ÷ raw, WASM`, WALL, variant, 'raw', [undefined, 0.35]),
    atLeast('F10', `${variant}, per CPU ÷ raw, WASM`, CPU, variant, 'raw', [undefined, 0.22]),
  ]),
  ...withoutLog('F1', [0.45, 0.65], [0.25, 0.37]),
  ...withoutLog('F10', [0.18, 0.28], [0.1, 0.16]),
  ...withoutLog('F10c', [0.17, 0.25], [0.1, 0.15]),
  atLeast('F10c', 'rate ÷ raw', WALL, 'lattice', 'raw', [0.17, 0.25]),
  atLeast('F10c', 'per CPU ÷ raw', CPU, 'lattice', 'raw', [0.1, 0.15]),
  atLeast('F100', 'per CPU ÷ raw', CPU, 'lattice', 'raw', [0.05, 0.08]),
  atLeast('F100', 'log off, per CPU ÷ raw', CPU, 'log-off', 'raw', [0.05, 0.08]),
  mostOf('W50', 'p50 ÷ raw', 'p50Us', 'ratio', [3, 2]),
  mostOf('W50', 'p99 ÷ raw', 'p99Us', 'ratio', [5, 3]),
  mostOf('W1', 'p50 − raw, µs', 'p50Us', 'difference', [200, 90]),
  atLeast('RING', '64 B ÷ postMessage', WALL, 'ring-64B', 'postMessage-64B', [15, 25]),
  atLeast('RING', '1 KB ÷ postMessage', WALL, 'ring-1KB', 'postMessage-1KB', [8, 25]),
  atLeast('SCAN', '10 ops ÷ msgpackr', WALL, 'scanner-10', 'msgpackr-10', [6, 10]),
  atLeast('MERGE', 'per CPU ÷ Map', CPU, 'record-store', 'map', [5, 9]),
  mostAlone('MERGE', 'RSS, B per key', 'rssBytesPerKey', 'record-store', [400, 400]),
  mostAlone('MERGE', 'longest stall, ms', 'stallMaxMs', 'record-store', [25, 8]),
  atLeast('LOG', '1024 out ÷ lmdb', WALL, 'log-1024', 'lmdb-1024', [1.5, 2.5]),
  atLeast('LOG', '1024 out ÷ its overlap', WALL, 'log-1024', 'lmdb-overlap-1024', [1.5, 2.5]),
  mostAlone('LOG', 'p50 ÷ (2 syncs + 1 ms)', 'p50ToBound', 'log-1024', [undefined, 1]),
  { ...mostOf('ISO', 'p99 ÷ p99 alone', 'p99Us', 'ratio', [2, 1.3]), variant: 'flushing', reference: 'alone' },
  ...['GET', 'SET'].flatMap((command) => [
    atLeast(`RESP-${command}-P16`, 'per CPU ÷ redis', CPU, 'alone', 'redis', [0.35, 0.5]),
    atLeast(`RESP-${command}-P16`, 'rate ÷ redis', WALL, 'alone', 'redis', [0.6, 0.9]),
  ]),
  ...['FLUSH', 'FLUSH-BYTES'].flatMap((scenario) => [
    atLeast(scenario, 'rows ÷ multi-values', WALL, 'lattice', 'multi-values', [1.2, 1.4]),
    mostAlone(scenario, 'µs of the client a row', 'clientUsPerRow', 'lattice', [4, 2.5]),
  ]),
  mostAlone('IDLE', '% of a core', 'cpuPercent', 'lattice', [1, 0.5]),
];

function mostOf(scenario: string, label: string, figure: string, comparison: Comparison, bounds: [number, number]): Target {
  return {
    scenario,
    label,
    figure,
    variant: 'lattice',
    reference: 'raw',
    comparison,
    direction: 'most',
    gate: bounds[0],
    stretch: bounds[1],
  };
}

function mostAlone(
  scenario: string,
  label: string,
  figure: string,
  variant: string,
  bounds: [number | undefined, number],
): Target {
  return { scenario, label, figure, variant, comparison: 'value', direction: 'most', gate: bounds[0], stretch: bounds[1] };
}

/** A bound that is held against nothing, since what it needs was void or could not be run. */
export interface Unjudged {
  readonly target: Target;
  readonly reason: string;
}

/** Holds every bound of the scenario against its medians. A bound whose variants have no run is left out; see `notJudged`. */
export function judge(result: ScenarioResult): Verdict[] {
  const verdicts: Verdict[] = [];
  for (const target of TARGETS) {
    if (target.scenario !== result.scenario) continue;
    const measured = measure(target, result);
    if (Number.isNaN(measured)) continue;
    const met = (bound: number): boolean => (target.direction === 'least' ? measured >= bound : measured <= bound);
    verdicts.push({
      target,
      measured,
      gateMet: target.gate === undefined ? undefined : met(target.gate),
      stretchMet: met(target.stretch),
    });
  }
  return verdicts;
}

/** The bounds of the scenario that no run can be held against, of variants that took part or should have. */
export function notJudged(result: ScenarioResult): Unjudged[] {
  return TARGETS.filter(({ scenario }) => scenario === result.scenario).flatMap((target) => {
    const reason = reasonNotJudged(target, result);
    return reason === undefined ? [] : [{ target, reason }];
  });
}

function reasonNotJudged({ variant, reference }: Target, result: ScenarioResult): string | undefined {
  for (const name of [variant, reference]) {
    if (name === undefined || result.runs(name) > 0) continue;
    if (result.voidRuns.some((run) => run.variant === name)) return `all runs of ${name} were void`;
    if (result.unmeasured.some((one) => one.variant === name)) return `${name} was not measured`;
  }
  return undefined;
}

function measure(target: Target, result: ScenarioResult): number {
  const own = result.median(target.variant, target.figure);
  if (target.comparison === 'value' || target.reference === undefined) return own;
  const reference = result.median(target.reference, target.figure);
  return target.comparison === 'ratio' ? own / reference : own - reference;
}
