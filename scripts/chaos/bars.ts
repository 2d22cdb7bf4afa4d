/**
 * The bars of reliability and what is known about each: a pure judgement over the results of runs.
 *
 *   reliability/bars.json ─┐
 *                          ├─▶ state of each proof ─▶ state of each bar ─▶ RELIABILITY.md
 *   results.jsonl ─────────┘
 *
 *   proven       the newest results are clean, and enough of them since the last failure
 *   in part      clean, but not enough yet
 *   failed       the newest result is a failure
 *   not proven   there is no result
 */
import type { Result } from './results.ts';

export interface Proof {
  /** `chaos kill`, `soak`, or the path of a test file. */
  readonly run: string;
  /** How much of it must have been clean since its last failure; 1 when left out. */
  readonly goal?: number;
}

export interface Bar {
  readonly id: string;
  readonly promise: string;
  readonly how: string;
  /** What a night on a larger machine should run. */
  readonly full: string;
  readonly proofs: readonly Proof[];
  /** What is known not to be proven. */
  readonly open: readonly string[];
}

export type ProofState = 'proven' | 'in part' | 'failed' | 'not proven';

export interface JudgedProof {
  readonly proof: Proof;
  readonly state: ProofState;
  /** Clean since the last failure. */
  readonly clean: number;
  readonly newest: Result | undefined;
}

export interface JudgedBar {
  readonly bar: Bar;
  readonly state: ProofState;
  readonly proofs: readonly JudgedProof[];
}

const WORST_FIRST: readonly ProofState[] = ['failed', 'not proven', 'in part', 'proven'];

/** @param results oldest first. */
export function judgeBar(bar: Bar, results: readonly Result[]): JudgedBar {
  const proofs = bar.proofs.map((proof) => judgeProof(proof, results));
  const worst = WORST_FIRST.find((state) => proofs.some((judged) => judged.state === state)) ?? 'not proven';
  // One proof that is missing does not unmake the others.
  const isPart = worst === 'not proven' && proofs.some(({ state }) => state !== 'not proven');
  return { bar, proofs, state: isPart ? 'in part' : worst };
}

function judgeProof(proof: Proof, results: readonly Result[]): JudgedProof {
  const own = results.filter(({ run }) => run === proof.run);
  const newest = own.at(-1);
  const lastFailure = own.findLastIndex(({ failures }) => failures > 0);
  const sinceFailure = own.slice(lastFailure + 1);
  // Tests are the same each time; cycles and minutes add up.
  const isTest = newest?.unit === 'tests';
  const clean = isTest ? (sinceFailure.at(-1)?.amount ?? 0) : sinceFailure.reduce((sum, { amount }) => sum + amount, 0);
  if (newest === undefined) return { proof, state: 'not proven', clean, newest };
  if (newest.failures > 0) return { proof, state: 'failed', clean, newest };
  return { proof, state: clean >= (proof.goal ?? 1) ? 'proven' : 'in part', clean, newest };
}

/** The bars of a file's text. Throws for what is none. */
export function parseBars(text: string): Bar[] {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value)) throw new TypeError('the bars are no list');
  return value.map((item: unknown, index) => {
    if (!isBar(item)) throw new TypeError(`bar ${index + 1} is none: ${JSON.stringify(item).slice(0, 200)}`);
    return item;
  });
}

function isBar(value: unknown): value is Bar {
  if (typeof value !== 'object' || value === null) return false;
  const { id, promise, how, full, proofs, open }: Readonly<Record<string, unknown>> = { ...value };
  const areTexts = [id, promise, how, full].every((field) => typeof field === 'string');
  return areTexts && Array.isArray(open) && Array.isArray(proofs) && proofs.every(isProof);
}

function isProof(value: unknown): value is Proof {
  return typeof value === 'object' && value !== null && 'run' in value && typeof value.run === 'string';
}
