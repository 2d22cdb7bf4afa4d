/**
 * Work beside the records of a thread: bounded queues of tasks, and subsystems with a rhythm, in slices of time.
 *
 *   schedule(task) ─► LazyWorker: bounded queue ─┐
 *   garbage collection, flush, expiry, stats ────┴─► TimeSlices.run(nowMs), called by the Runnable's onTick
 *
 * All of it runs on the thread that owns the data, so it needs no lock, and it is cut into slices of a few
 * milliseconds, so that records do not wait for it. Full is an answer: who schedules decides what to leave out.
 *
 * After TiKV's worker module (Scheduler, Runnable, RunnableWithTimer, LazyWorker). Unlike there, the bound is the queue's
 * own: one thread, so checking and pushing cannot be torn apart.
 */
import { assert } from '../engine/assert.ts';

/** A subsystem with a rhythm. */
export interface BackgroundRunnable {
  readonly name: string;
  /** Time between two runs, in ms. */
  readonly intervalMs: number;
  /**
   * Works for about `budgetMs` and returns. `'more'` asks for the next slice instead of the next interval. Must not
   * throw for what the world may do: an error ends the thread.
   */
  run(nowMs: number, budgetMs: number): 'done' | 'more';
}

interface Slot {
  readonly runnable: BackgroundRunnable;
  dueAtMs: number;
}

/** Runs registered subsystems when they are due, the one that has waited longest first. */
export class TimeSlices {
  readonly #slots: Slot[] = [];
  readonly #sliceMs: number;
  readonly #clock: () => number;
  #ranAtMs = 0;

  /** @param sliceMs time for all subsystems together in one call of `run`, in ms; 2 to 5 keeps records flowing. */
  constructor(sliceMs: number, clock: () => number) {
    assert(sliceMs > 0, `slice of ${sliceMs} ms`);
    this.#sliceMs = sliceMs;
    this.#clock = clock;
  }

  /** Adds a subsystem; its first run is one interval away. */
  register(runnable: BackgroundRunnable): void {
    assert(runnable.intervalMs > 0, `interval of ${runnable.name}: ${runnable.intervalMs} ms`);
    this.#slots.push({ runnable, dueAtMs: this.#clock() + runnable.intervalMs });
  }

  /** Runs what is due until the slice is used up; what is left stays due. Returns how many runs there were. */
  run(nowMs: number): number {
    if (nowMs < this.#ranAtMs) this.#clockWentBack(nowMs);
    this.#ranAtMs = nowMs;
    const endAtMs = nowMs + this.#sliceMs;
    let timeMs = nowMs;
    let runs = 0;
    while (timeMs < endAtMs && runs < this.#slots.length) {
      const slot = this.#longestDue(timeMs);
      if (slot === undefined) break;
      const answer = slot.runnable.run(timeMs, endAtMs - timeMs);
      const endedMs = this.#clock();
      // With more to do it is due at once, but behind all that are due already: in the list, too.
      slot.dueAtMs = answer === 'more' ? endedMs : timeMs + slot.runnable.intervalMs;
      this.#slots.push(...this.#slots.splice(this.#slots.indexOf(slot), 1));
      timeMs = endedMs;
      runs += 1;
    }
    return runs;
  }

  /** The wall clock was set back: nothing may wait until it is again what it was. */
  #clockWentBack(nowMs: number): void {
    for (const slot of this.#slots) slot.dueAtMs = Math.min(slot.dueAtMs, nowMs + slot.runnable.intervalMs);
  }

  #longestDue(nowMs: number): Slot | undefined {
    let found: Slot | undefined;
    for (const slot of this.#slots) {
      if (slot.dueAtMs <= nowMs && (found === undefined || slot.dueAtMs < found.dueAtMs)) found = slot;
    }
    return found;
  }
}

export type ScheduleAnswer = 'ok' | 'full' | 'stopped';

/** What a task's sender holds. */
export interface Scheduler<Task> {
  schedule(task: Task): ScheduleAnswer;
  /** How many more tasks are taken now. */
  readonly pendingCapacity: number;
}

/** What does a task. Runs it to completion, without suspending. */
export interface TaskRunner<Task> {
  run(task: Task): void;
  /** Runs once, after the last task. */
  shutdown?(): void;
}

/**
 * A scheduler that exists before its runner: senders may hold it while the runner is still being built, and what they
 * scheduled is handed over when it starts. Register it with TimeSlices to have its tasks run.
 */
export class LazyWorker<Task> implements Scheduler<Task>, BackgroundRunnable {
  readonly name: string;
  readonly intervalMs: number;
  readonly #clock: () => number;
  readonly #queue: (Task | undefined)[];
  #first = 0;
  #pending = 0;
  #runner: TaskRunner<Task> | undefined;
  #stopped = false;

  constructor(options: { name: string; pendingTasksMax: number; intervalMs: number; clock: () => number }) {
    assert(options.pendingTasksMax >= 1, `queue of ${options.pendingTasksMax} tasks`);
    this.name = options.name;
    this.intervalMs = options.intervalMs;
    this.#clock = options.clock;
    this.#queue = new Array<Task | undefined>(options.pendingTasksMax).fill(undefined);
  }

  get pendingTasks(): number {
    return this.#pending;
  }

  get pendingCapacity(): number {
    return this.#stopped ? 0 : this.#queue.length - this.#pending;
  }

  schedule(task: Task): ScheduleAnswer {
    if (this.#stopped) return 'stopped';
    if (this.#pending === this.#queue.length) return 'full';
    this.#queue[(this.#first + this.#pending) % this.#queue.length] = task;
    this.#pending += 1;
    return 'ok';
  }

  /** From now on tasks are run, those scheduled before included. */
  start(runner: TaskRunner<Task>): void {
    assert(this.#runner === undefined, `${this.name} has a runner`);
    assert(!this.#stopped, `${this.name} was stopped`);
    this.#runner = runner;
  }

  run(_nowMs: number, budgetMs: number): 'done' | 'more' {
    const runner = this.#runner;
    if (runner === undefined) return 'done';
    const endAtMs = this.#clock() + budgetMs;
    while (this.#pending > 0) {
      this.#runFirst(runner);
      if (this.#clock() >= endAtMs) break;
    }
    return this.#pending > 0 ? 'more' : 'done';
  }

  /** Takes no more tasks, runs those that were taken, then shuts the runner down. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    const runner = this.#runner;
    if (runner === undefined) return;
    while (this.#pending > 0) this.#runFirst(runner);
    runner.shutdown?.();
  }

  #runFirst(runner: TaskRunner<Task>): void {
    const task = this.#queue[this.#first] as Task;
    this.#queue[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.#queue.length;
    this.#pending -= 1;
    runner.run(task);
  }
}
