/** The child's side of `generated` (harness.ts): takes one plan from its parent, runs it, answers with the report, ends. */
import { messageOf } from './void-run.ts';

/** What the process answers: a report, or why there is none. */
export type GeneratorAnswer<Report> = { readonly report: Report } | { readonly failure: string };

export function answerPlan<Plan, Report>(run: (plan: Plan) => Promise<Report>): void {
  process.once('message', (plan: Plan) => {
    run(plan).then(
      (report) => answer({ report }),
      (cause: unknown) => answer({ failure: messageOf(cause) }),
    );
  });
}

function answer<Report>(message: GeneratorAnswer<Report>): void {
  process.send?.(message, () => process.disconnect());
}
