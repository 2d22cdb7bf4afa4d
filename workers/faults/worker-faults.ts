/**
 * The faults of one partition worker: wraps what it works with, and ends its thread at a random moment.
 *
 *   rings ─ FaultyRunnable ─ runner ─┬─ FaultyLogFiles ─ disk
 *                                    └─ FaultyDataStore ─ Postgres
 */
import { type FaultOptions, type Faults, faultsOf } from '../../engine/faults.ts';
import type { DataStore } from '../../engine/storage/data-store.ts';
import type { LogFiles } from '../../engine/storage/log-files.ts';
import type { Runnable } from '../runnable.ts';
import { die } from './death.ts';
import { FaultyDataStore } from './faulty-data-store.ts';
import { FaultyLogFiles } from './faulty-log-files.ts';
import { FaultyRunnable } from './faulty-runnable.ts';

export class WorkerFaults {
  readonly #faults: Faults;
  readonly #who: string;
  #killer: NodeJS.Timeout | undefined;

  private constructor(faults: Faults, who: string) {
    this.#faults = faults;
    this.#who = who;
  }

  /**
   * Undefined while fault injection is off. A thread that replaces another (`launch`) draws numbers of its own.
   * @param onFault is told of each fault, when `faultLogEvents` is on.
   */
  static of(options: FaultOptions, workerId: number, launch: number, onFault: (text: string) => void): WorkerFaults | undefined {
    const faults = faultsOf(options, `worker ${workerId}`, launch, onFault);
    return faults === undefined ? undefined : new WorkerFaults(faults, `worker ${workerId}`);
  }

  dataStore(inner: DataStore): DataStore {
    return new FaultyDataStore(inner, this.#faults);
  }

  logFiles(inner: LogFiles): LogFiles {
    return new FaultyLogFiles(inner, this.#faults);
  }

  runnable(inner: Runnable): Runnable {
    return FaultyRunnable.ofWorker(inner, this.#faults);
  }

  /** Starts the time that the thread has to live. Call it when the worker is ready. */
  arm(): void {
    const delayMs = this.#faults.killAfterMs();
    if (delayMs > 0) this.#killer = setTimeout(() => die(this.#faults.deathWay(), this.#who), delayMs);
  }

  /** Spares the thread from here on: it was asked to stop. */
  disarm(): void {
    clearTimeout(this.#killer);
  }
}
