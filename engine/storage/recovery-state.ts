/**
 * How a worker stands with its storage, over several flushes: one failure is no trouble yet, one success no recovery.
 *
 *   RECOVERING ──nothing loads, 3 successes in a row or nothing staged, no lag──▶ NORMAL ──5 failures in a row──▶ DEGRADED
 *       ▲ │                                                                                                        │ ▲
 *       │ └───────────────────────────── 5 failures in a row ──────────────────────────────────────────────────────│─┘
 *       └──────────────────────────────────────────── the first success ──────────────────────────────────────────┘
 *
 *   any ──refused: another owner, a log that failed──▶ FAILED, for the life of the worker
 *
 * A worker begins as recovering: it loads its partitions, replays its log, and brings to the store what was replayed. A pure function
 * of what the worker counts anyhow, so it is asked when the figures are published, and nothing is told to it.
 */

export const RECOVERY_STATES = ['normal', 'degraded', 'failed', 'recovering'] as const;
export type RecoveryState = (typeof RECOVERY_STATES)[number];

export interface RecoveryFacts {
  /** Partitions are being loaded, or the log replayed. */
  readonly isLoading: boolean;
  /** Storage will not take anything more from this worker: see the error for why. */
  readonly isRefused: boolean;
  /** Flushes that failed since the last one that did not. */
  readonly failuresInARow: number;
  /** Flushes that succeeded since the last one that did not. */
  readonly successesInARow: number;
  /** Changes that are not in the data store yet. */
  readonly stagedRecords: number;
  /** Age of the oldest of them, ms. */
  readonly lagMs: number;
}

export interface RecoveryLimits {
  /** Failures in a row from which the worker is degraded. With the backoff between them, 5 take about 2 s. */
  readonly failuresMax: number;
  /** Successes in a row after which it may be normal again. */
  readonly successesMin: number;
  /** A backlog is drained when its oldest change is younger than this, ms. */
  readonly lagMsMax: number;
}

export const RECOVERY_LIMITS: RecoveryLimits = Object.freeze({ failuresMax: 5, successesMin: 3, lagMsMax: 5_000 });

/** The state after `state`, as the facts are now. */
export function nextRecoveryState(
  state: RecoveryState,
  facts: RecoveryFacts,
  limits: RecoveryLimits = RECOVERY_LIMITS,
): RecoveryState {
  if (state === 'failed' || facts.isRefused) return 'failed';
  if (facts.isLoading) return 'recovering';
  if (facts.failuresInARow >= limits.failuresMax) return 'degraded';
  if (state === 'normal') return 'normal';
  if (state === 'degraded') return facts.successesInARow > 0 ? 'recovering' : 'degraded';
  return isRecovered(facts, limits) ? 'normal' : 'recovering';
}

function isRecovered({ failuresInARow, successesInARow, stagedRecords, lagMs }: RecoveryFacts, limits: RecoveryLimits): boolean {
  if (failuresInARow > 0) return false;
  if (stagedRecords === 0) return true; // nothing left that could succeed
  return successesInARow >= limits.successesMin && lagMs <= limits.lagMsMax;
}
