/**
 * A scenario as it is kept and shown: medians and spreads of each variant, verdicts, and where and when it was measured.
 *
 * Plain data: it goes into bench/results.json, one object a scenario, and from there onto the page.
 */
import type { ScenarioResult } from '../result.ts';
import type { Spread } from '../statistics.ts';
import { judge, notJudged } from '../targets.ts';

/** One session of measuring: figures of different sessions are not compared. */
export interface Session {
  /** ISO date and time of its start. */
  readonly startedAt: string;
  /** Short hash; a `+` behind it says that files differed from it. */
  readonly commit: string;
  readonly node: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly system: string;
  /** Versions of the peers that took part. */
  readonly peers: Readonly<Record<string, string>>;
  /** Short runs, or fewer than five: good to see that everything works, not to be quoted. */
  readonly quick: boolean;
}

/** What tells one machine, as it is set up, from others. */
export function machineOf({ cpu, cores, memoryGb, system, node }: Session): string {
  return `${cores} cores of ${cpu}, ${memoryGb} GB, ${system}, Node ${node.slice(1)}`;
}

export interface MeasuredVariant {
  readonly name: string;
  readonly runs: number;
  readonly voidRuns: readonly string[];
  readonly figures: Readonly<Record<string, Spread>>;
  /** The variant that it is divided by; itself, where it is what the others are divided by. */
  readonly reference?: string;
  /** Per CPU second, of its reference; null without one. */
  readonly ratioPerCpu: number | null;
  readonly ratioWall: number | null;
}

export interface MeasuredVerdict {
  readonly label: string;
  readonly measured: number;
  readonly sign: '≥' | '≤';
  readonly gate: number | null;
  readonly stretch: number;
  readonly gateMet: boolean | null;
  readonly stretchMet: boolean;
}

export interface Measured {
  readonly part: string;
  readonly scenario: string;
  readonly title: string;
  readonly session: Session;
  readonly variants: readonly MeasuredVariant[];
  readonly unmeasured: readonly { readonly variant: string; readonly reason: string }[];
  readonly verdicts: readonly MeasuredVerdict[];
  /** Targets that no run could be held against; not in results of before they were kept. */
  readonly notJudged?: readonly { readonly label: string; readonly reason: string }[];
}

/** A finished scenario as plain data. */
export function measuredOf(part: string, result: ScenarioResult, session: Session): Measured {
  const names = [...new Set([...result.variants, ...result.voidRuns.map(({ variant }) => variant)])];
  return {
    part,
    scenario: result.scenario,
    title: result.title,
    session,
    variants: names.map((name) => variantOf(name, result)),
    unmeasured: result.unmeasured,
    verdicts: judge(result).map(({ target, measured, gateMet, stretchMet }) => ({
      label: target.label,
      measured,
      sign: target.direction === 'least' ? '≥' : '≤',
      gate: target.gate ?? null,
      stretch: target.stretch,
      gateMet: gateMet ?? null,
      stretchMet,
    })),
    notJudged: notJudged(result).map(({ target, reason }) => ({ label: target.label, reason })),
  };
}

function variantOf(name: string, result: ScenarioResult): MeasuredVariant {
  const reference = result.ceilingOf(name);
  return {
    name,
    runs: result.runs(name),
    voidRuns: result.voidRuns.filter(({ variant }) => variant === name).map(({ reason }) => reason),
    figures: Object.fromEntries(result.figures(name).map((figure) => [figure, result.spread(name, figure)])),
    ...(reference === undefined ? {} : { reference }),
    ratioPerCpu: finite(result.ratioToCeiling(name, 'opsPerCpuSecond')),
    ratioWall: finite(result.ratioToCeiling(name, 'opsPerSecond')),
  };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
