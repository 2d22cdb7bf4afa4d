/**
 * Figures of a scenario: a list of runs per variant, and their medians.
 *
 * Void runs are kept beside, with the reason, and are never part of a median; so are variants that could not be run.
 */
import { median, type Spread, spreadOf } from './statistics.ts';

/** Figures of one run by name: `opsPerSecond`, `opsPerCpuSecond`, `p50Us`, `p99Us`, and what else a scenario has. */
export type Figures = Readonly<Record<string, number>>;

/** What the others are divided by. */
export interface ScenarioShape {
  readonly scenario: string;
  /** What it does, one line. */
  readonly title: string;
  /** Variant → the variant that it is divided by. */
  readonly ceilings: Readonly<Record<string, string>>;
}

export class ScenarioResult {
  readonly scenario: string;
  readonly title: string;
  readonly voidRuns: { readonly variant: string; readonly reason: string }[] = [];
  /** Variants that could not be run at all here. */
  readonly unmeasured: { readonly variant: string; readonly reason: string }[] = [];
  readonly #ceilings: Readonly<Record<string, string>>;
  readonly #runs = new Map<string, Figures[]>();

  constructor(shape: ScenarioShape) {
    this.scenario = shape.scenario;
    this.title = shape.title;
    this.#ceilings = shape.ceilings;
  }

  get variants(): string[] {
    return [...this.#runs.keys()];
  }

  add(variant: string, figures: Figures): void {
    const runs = this.#runs.get(variant) ?? [];
    runs.push(figures);
    this.#runs.set(variant, runs);
  }

  addVoid(variant: string, reason: string): void {
    this.voidRuns.push({ variant, reason });
  }

  notMeasured(variant: string, reason: string): void {
    this.unmeasured.push({ variant, reason });
  }

  runs(variant: string): number {
    return this.#runs.get(variant)?.length ?? 0;
  }

  /** Names of all figures of a variant. */
  figures(variant: string): string[] {
    return Object.keys(this.#runs.get(variant)?.[0] ?? {});
  }

  /** Median of a figure over the variant's runs; NaN when it has none. */
  median(variant: string, figure: string): number {
    return median(this.#values(variant, figure));
  }

  spread(variant: string, figure: string): Spread {
    return spreadOf(this.#values(variant, figure));
  }

  /** What the variant is divided by. */
  ceilingOf(variant: string): string | undefined {
    return this.#ceilings[variant];
  }

  /** Median of a figure divided by that of the variant's ceiling; NaN without one. */
  ratioToCeiling(variant: string, figure: string): number {
    const ceiling = this.#ceilings[variant];
    return ceiling === undefined ? Number.NaN : this.median(variant, figure) / this.median(ceiling, figure);
  }

  #values(variant: string, figure: string): number[] {
    return (this.#runs.get(variant) ?? []).map((run) => run[figure] ?? Number.NaN).filter((value) => !Number.isNaN(value));
  }
}
