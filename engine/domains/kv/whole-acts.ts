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
import { type RestoreValues, runWhenHere } from './restored-values.ts';
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
  readonly restore: RestoreValues | undefined;
  readonly clock: () => number;
  readonly log: WholeLog;
}

const NO_CHANGE = new Uint8Array(0);
/** Of what nobody waits for any more. */
export const GIVEN_UP = 'TRYAGAIN UNAVAILABLE values were not read back in time: nothing was run';

export class WholeActs {
  readonly #options: WholeActsOptions;
  readonly #runner: KvRunner;
  readonly #done = new Set<number>();

  constructor(options: WholeActsOptions) {
    this.#options = options;
    this.#runner = new KvRunner(options);
  }

  /**
   * Why the change could not be made here now; ''.
   * @param isHeld false once the act was given up: then values are read back for it no more
   */
  refusal(change: Uint8Array, nowMs: number, isHeld: () => boolean): string | Promise<string> {
    return this.#refusalWhenHere(nowMs, isHeld, (atMs) => {
      this.#runner.nowMs = atMs;
      this.#runner.assertChange(decodeChange(change));
    });
  }

  /** True when the act's change is made here. */
  isDone(act: number): boolean {
    return this.#done.has(act) || this.#options.log.wholesDone.has(act);
  }

  /**
   * '' when the change is made and noted, or why it is not decided and nothing was done.
   * @param isHeld as of `refusal`
   */
  decide(act: number, change: Uint8Array, nowMs: number, isHeld: () => boolean): string | Promise<string> {
    const refusal = this.#refusalWhenHere(nowMs, isHeld, (atMs) => {
      if (this.isDone(act)) return;
      this.#runner.nowMs = atMs;
      this.#runner.assertChange(decodeChange(change));
      this.#runner.makeChange(decodeChange(change));
      this.#options.log.note(WHOLE_DECIDED, act, change);
      this.#noteDone(act);
    });
    // Asked twice, one asking may have done it while the other could not read its values back.
    return refusal instanceof Promise ? refusal.then((text) => (this.isDone(act) ? '' : text)) : refusal;
  }

  /**
   * Makes and notes what is decided; it is not refused. Rejects with GridError UNAVAILABLE when values cannot be read back: ask again.
   * @param isHeld false once the act is over: then nothing is done
   */
  do(act: number, change: Uint8Array, nowMs: number, isHeld: () => boolean): void | Promise<void> {
    const { restore, clock } = this.#options;
    const run = (atMs: number): void => {
      if (this.isDone(act)) return;
      this.#runner.nowMs = atMs;
      this.#runner.makeChange(decodeChange(change));
      this.#noteDone(act);
    };
    return runWhenHere(
      () => run(nowMs),
      () => (isHeld() ? run(clock()) : undefined),
      restore,
    );
  }

  #noteDone(act: number): void {
    this.#options.log.note(WHOLE_DONE, act, NO_CHANGE);
    this.#done.add(act);
  }

  /** All workers have done it. */
  over(act: number): void {
    this.#options.log.note(WHOLE_OVER, act, NO_CHANGE);
  }

  /** Nobody asks for it any more, nor waits for an earlier asking. */
  forget(act: number): void {
    this.#done.delete(act);
  }

  #refusalWhenHere(nowMs: number, isHeld: () => boolean, run: (atMs: number) => void): string | Promise<string> {
    const { restore, clock } = this.#options;
    const refused = (atMs: number): string => refusalOf(() => run(atMs));
    const answer = runWhenHere(
      () => refused(nowMs),
      () => (isHeld() ? refused(clock()) : GIVEN_UP),
      restore,
    );
    return answer instanceof Promise ? answer.catch(textOf) : answer;
  }
}

/** Carries on what earlier runs have left undone; true when there was any. Rejects with GridError when values cannot be read back. */
export async function finishWholeActs(options: WholeActsOptions): Promise<boolean> {
  const { log, clock, restore } = options;
  if (log.undone.length === 0) return false;
  const runner = new KvRunner(options);
  for (const { act, epoch, change, partitions } of log.undone) {
    const run = (): void => {
      runner.nowMs = clock();
      runner.makeChange(decodeChange(change), partitions);
      log.note(WHOLE_DONE, act, NO_CHANGE, epoch);
    };
    await runWhenHere(run, run, restore);
  }
  return true;
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
