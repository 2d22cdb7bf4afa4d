/**
 * A worker's part in a change of whole databases over several workers (FLUSHDB, FLUSHALL, SWAPDB), however large they are.
 *
 *   HOLD everything, may it be done? ─ DECIDE at the first ─ DO at the others ─ OVER at the first, then at the others ─ RELEASE
 *
 * Each worker makes the change in its own partitions, in one frame of its log that also says so. DECIDE is one more note in the frame
 * of the first (storage/whole-act-note.ts): with it the change is to be made everywhere. After a kill -9 the next start carries on
 * where a worker had not done its part: nobody wrote there by commands meanwhile, because all was held.
 */
import { GridError } from '../../protocol/errors.ts';
import { type UndoneAct, WHOLE_DECIDED, WHOLE_DONE, WHOLE_OVER, type WholeState } from '../../storage/whole-act-note.ts';
import { KvError } from './command.ts';
import { KvRunner, type KvRunnerOptions } from './kv-runner.ts';
import { replyOf } from './refused-reply.ts';
import { type RestoreValue, runWhenHere } from './restored-values.ts';
import { decodeChange } from './whole-changes.ts';

/** How such acts stand in the log of the worker. */
export interface WholeLog {
  /** Into the frame at hand. `epoch` is that of the run that decided the act: this one, unless it says otherwise. */
  note(state: WholeState, act: number, change: Uint8Array, epoch?: number): void;
  /** Acts of this run that threads before this one have done. */
  readonly wholesDone: ReadonlySet<number>;
  /** What earlier runs have left undone here. */
  readonly undone: readonly UndoneAct[];
}

export type WholeStep = 'decide' | 'do' | 'over';

/** One step of an act at a worker. */
export interface WholeAsk {
  readonly act: number;
  readonly step: WholeStep;
  /** As whole-changes.ts has it. */
  readonly change: Uint8Array;
}

export interface WholeActsOptions extends KvRunnerOptions {
  readonly restore: RestoreValue | undefined;
  readonly clock: () => number;
  readonly log: WholeLog;
}

const NO_CHANGE = new Uint8Array(0);

export class WholeActs {
  readonly #options: WholeActsOptions;
  readonly #runner: KvRunner;
  readonly #done = new Set<number>();

  constructor(options: WholeActsOptions) {
    this.#options = options;
    this.#runner = new KvRunner(options);
  }

  /** Why the change could not be made here now; ''. */
  refusal(change: Uint8Array, nowMs: number): string | Promise<string> {
    return this.#whenHere(nowMs, (atMs) => {
      this.#runner.nowMs = atMs;
      this.#runner.assertChange(decodeChange(change));
    });
  }

  /** True when the act's change is made here. */
  isDone(act: number): boolean {
    return this.#done.has(act) || this.#options.log.wholesDone.has(act);
  }

  /** '' when the change is made and noted, or why nothing was done. Only the step `decide` is refused. */
  take({ act, step, change }: WholeAsk, nowMs: number): string | Promise<string> {
    const { log } = this.#options;
    const runner = this.#runner;
    return this.#whenHere(nowMs, (atMs) => {
      if (this.isDone(act)) return;
      const what = decodeChange(change);
      runner.nowMs = atMs;
      if (step === 'decide') runner.assertChange(what);
      runner.makeChange(what);
      if (step === 'decide') log.note(WHOLE_DECIDED, act, change);
      log.note(WHOLE_DONE, act, NO_CHANGE);
      this.#done.add(act);
    });
  }

  /** All workers have done it. */
  over(act: number): void {
    this.#options.log.note(WHOLE_OVER, act, NO_CHANGE);
  }

  #whenHere(nowMs: number, run: (atMs: number) => void): string | Promise<string> {
    const { restore, clock } = this.#options;
    const refused = (atMs: number): string => refusalOf(() => run(atMs));
    const answer = runWhenHere(
      () => refused(nowMs),
      () => refused(clock()),
      restore,
    );
    return answer instanceof Promise ? answer.catch(textOf) : answer;
  }
}

/** Carries on what earlier runs have left undone. Rejects with GridError when values cannot be read back. */
export async function finishWholeActs(options: WholeActsOptions): Promise<void> {
  const { log, clock, restore } = options;
  if (log.undone.length === 0) return;
  const runner = new KvRunner(options);
  for (const { act, epoch, change, partitions } of log.undone) {
    const run = (): void => {
      runner.nowMs = clock();
      runner.makeChange(decodeChange(change), new Set(partitions));
      log.note(WHOLE_DONE, act, NO_CHANGE, epoch);
    };
    await runWhenHere(run, run, restore);
  }
}

function refusalOf(run: () => void): string {
  try {
    run();
    return '';
  } catch (error) {
    if (error instanceof KvError) return error.message;
    throw error;
  }
}

function textOf(error: unknown): string {
  if (error instanceof GridError) return replyOf(error);
  throw error;
}
