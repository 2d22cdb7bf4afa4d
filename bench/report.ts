/**
 * How results are shown: a table for people, or one JSON object a line for programs.
 *
 * A line has, for each scenario and variant, the medians of its runs: opsPerSecond, opsPerCpuSecond (of the server
 * process; NaN becomes null), p50Us, p99Us, and ratioToCeiling: opsPerCpuSecond (for RING and SCAN, which run in the
 * measuring process, opsPerSecond) divided by the reference of the same session.
 */
import { labelOf } from './figure-labels.ts';
import { short } from './number-text.ts';
import type { ScenarioResult } from './result.ts';
import { judge, notJudged, type Verdict } from './targets.ts';

const FIRST_FIGURES = ['opsPerSecond', 'opsPerCpuSecond', 'p50Us', 'p99Us'];

/**
 * One JSON object per variant; one that could not be run has `notMeasured`, the reason, and no figures. A target that cannot be
 * judged is an object with `notJudged`, the reason.
 */
export function jsonLines(result: ScenarioResult): string[] {
  const { scenario } = result;
  const missing = result.unmeasured.map(({ variant, reason }) => JSON.stringify({ scenario, variant, notMeasured: reason }));
  const open = notJudged(result).map(({ target, reason }) =>
    JSON.stringify({ scenario, variant: target.variant, label: target.label, notJudged: reason }),
  );
  return [...result.variants.map((variant) => jsonLine(result, variant)), ...missing, ...open];
}

function jsonLine(result: ScenarioResult, variant: string): string {
  const line: Record<string, unknown> = { scenario: result.scenario, variant };
  for (const figure of FIRST_FIGURES) line[figure] = rounded(result.median(variant, figure));
  line.ratioToCeiling = rounded(ceilingRatio(result, variant));
  line.ratioToCeilingWall = rounded(result.ratioToCeiling(variant, 'opsPerSecond'));
  for (const figure of result.figures(variant)) if (!(figure in line)) line[figure] = rounded(result.median(variant, figure));
  line.runs = result.runs(variant);
  line.voidRuns = result.voidRuns.filter((run) => run.variant === variant).length;
  const verdicts = judge(result).filter((verdict) => verdict.target.variant === variant);
  line.targets = verdicts.map(({ target, measured, gateMet, stretchMet }) => {
    return {
      label: target.label,
      measured: rounded(measured),
      gate: target.gate ?? null,
      gateMet: gateMet ?? null,
      stretch: target.stretch,
      stretchMet,
    };
  });
  return JSON.stringify(line);
}

function ceilingRatio(result: ScenarioResult, variant: string): number {
  const perCpu = result.ratioToCeiling(variant, 'opsPerCpuSecond');
  return Number.isNaN(perCpu) ? result.ratioToCeiling(variant, 'opsPerSecond') : perCpu;
}

/** A table of medians with spreads, and the verdict on each target. */
export function tableText(result: ScenarioResult): string {
  const lines = [`\n${result.scenario}  ${result.title}`];
  for (const variant of result.variants) {
    const figures = result.figures(variant).map((figure) => figureText(result, variant, figure));
    const ratio = ceilingRatio(result, variant);
    const ratioText = Number.isNaN(ratio) || ratio === 1 ? '' : `, ${short(ratio)} of its reference`;
    lines.push(`  ${variant.padEnd(18)} ${result.runs(variant)} runs${ratioText}`, `    ${figures.join('\n    ')}`);
  }
  for (const run of result.voidRuns) lines.push(`  ${run.variant.padEnd(18)} ${run.reason}`);
  for (const { variant, reason } of result.unmeasured) lines.push(`  ${variant.padEnd(18)} not measured: ${reason}`);
  lines.push(...judge(result).map(verdictText));
  for (const { target, reason } of notJudged(result)) lines.push(`  → ${target.label.padEnd(20)} not judged: ${reason}`);
  return lines.join('\n');
}

function figureText(result: ScenarioResult, variant: string, figure: string): string {
  return `${labelOf(figure).padEnd(14)} ${spreadText(result, variant, figure)}`;
}

function spreadText(result: ScenarioResult, variant: string, figure: string): string {
  const { median, min, max } = result.spread(variant, figure);
  return Number.isNaN(median) ? '–' : `${short(median)} (${short(min)}–${short(max)})`;
}

function verdictText({ target, measured, gateMet, stretchMet }: Verdict): string {
  const sign = target.direction === 'least' ? '≥' : '≤';
  const gate = target.gate === undefined ? 'no gate' : `gate ${sign} ${target.gate} ${gateMet ? 'met' : 'NOT MET'}`;
  return `  → ${target.label.padEnd(20)} ${short(measured).padStart(7)}   ${gate}, stretch ${sign} ${target.stretch} ${stretchMet ? 'met' : 'not met'}`;
}

function rounded(value: number): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(5)) : null;
}
