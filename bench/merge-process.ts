/**
 * One store under five million merges, in a process of its own, so that its memory and its pauses are its own.
 *
 *   fill a batch of 256 records (untimed) ─▶ merge them (timed: CPU of the process, wall for the longest) ─▶ again
 *
 * The records are the same for both variants (merge-batch.ts); what differs is what `merge` does with one
 * (merge-stores.ts).
 */
import { BATCH_RECORDS, RecordBatch } from './merge-batch.ts';
import { type MergeStore, mergeStore } from './merge-stores.ts';

/** What one run does. Plain data: it crosses from the harness. */
export interface MergePlan {
  readonly store: 'record-store' | 'map';
  readonly keys: number;
  readonly merges: number;
  /** So many of the first merges are compared with those of the other variant. */
  readonly compared: number;
}

/** What one run measured. */
export interface MergeReport {
  readonly cpuMs: number;
  readonly wallMs: number;
  /** Longest time that one batch took. */
  readonly stallMaxMs: number;
  /** Memory that grew from the empty store to the full one. */
  readonly rssGrowthBytes: number;
  readonly records: number;
  /** Merges that changed the store. */
  readonly applied: number;
  /** Those among the first merges that are compared, and the records that were there then: both variants must agree on them. */
  readonly comparedApplied: number;
  readonly comparedRecords: number;
}

function runMerges(plan: MergePlan): MergeReport {
  const batch = new RecordBatch(plan.keys);
  const store: MergeStore = mergeStore(plan.store);
  batch.fill();
  const rssBefore = process.memoryUsage.rss();
  let cpuUs = 0;
  let wallMs = 0;
  let stallMaxMs = 0;
  let applied = 0;
  let compared = { comparedApplied: 0, comparedRecords: 0 };
  for (let merged = 0; merged < plan.merges; merged += BATCH_RECORDS) {
    batch.fill();
    const startMs = performance.now();
    const cpuBefore = process.cpuUsage();
    applied += store.merge(batch, startMs);
    const { user, system } = process.cpuUsage(cpuBefore);
    const batchMs = performance.now() - startMs;
    cpuUs += user + system;
    wallMs += batchMs;
    if (batchMs > stallMaxMs) stallMaxMs = batchMs;
    if (merged < plan.compared) compared = { comparedApplied: applied, comparedRecords: store.records };
  }
  const rssGrowthBytes = process.memoryUsage.rss() - rssBefore;
  return { cpuMs: cpuUs / 1000, wallMs, stallMaxMs, rssGrowthBytes, records: store.records, applied, ...compared };
}

process.once('message', (plan: MergePlan) => {
  process.send?.(runMerges(plan), () => process.disconnect());
});
