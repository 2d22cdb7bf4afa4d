/**
 * The load generator's process: takes one plan from its parent, runs it, answers with the report, ends.
 *
 * A process of its own, so that its CPU is never counted as the server's and its garbage never stops the harness.
 * Nothing is pinned to a core unless the harness was told to: the kernel's placement is part of both variants.
 */
import { type LoadPlan, type LoadReport, runLoad } from './load.ts';

/** What the process answers: a report, or why there is none. */
export type GeneratorAnswer = { readonly report: LoadReport } | { readonly failure: string };

process.once('message', (plan: LoadPlan) => {
  runLoad(plan).then(
    (report) => answer({ report }),
    (cause: unknown) => answer({ failure: cause instanceof Error ? cause.message : String(cause) }),
  );
});

function answer(message: GeneratorAnswer): void {
  process.send?.(message, () => process.disconnect());
}
