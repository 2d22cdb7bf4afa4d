/**
 * Starts threads that are not in a pool: the gateways, given their module and their arguments.
 *
 *   owner   Thread.start ──── workerData ───► threadData(), ownerPort()   thread
 *           (resolves) ◄──────── ready ────── ready(), once it is set up
 *           send, onMessage ◄── messages ───► send, onMessage
 *           stop ───────────────  stop ─────► onStop: lets go of all its handles, closes the port, and so ends
 *
 * A thread with live uWebSockets handles must not be terminated: Node would abort the whole process. So `stop` asks, waits,
 * and says whether the thread went; it never kills.
 */
import { parentPort, type ResourceLimits, type Transferable, Worker, workerData } from 'node:worker_threads';
import { assert } from '../engine/assert.ts';
import { ControlPort } from './control-port.ts';

/** URL of a module of this project beside `from` (an import.meta.url), without its extension: .ts under tsx, .js when built. */
export function moduleBeside(path: string, from: string): URL {
  return new URL(`${path}${from.endsWith('.ts') ? '.ts' : '.js'}`, from);
}

/**
 * Node's arguments for a thread that runs `module`: none for a built one. A thread does not inherit tsx from its
 * parent (Node 20), so one that runs TypeScript registers it for itself.
 */
export function execArgvFor(module: URL): { execArgv?: string[] } {
  if (!module.pathname.endsWith('.ts')) return {};
  const register = `import { register } from '${import.meta.resolve('tsx/esm/api')}'; register();`;
  return { execArgv: ['--import', `data:text/javascript,${encodeURIComponent(register)}`] };
}

/** Inside a thread: what its owner gave as `data`. */
export function threadData<Data>(): Data {
  return workerData as Data; // the border between two threads: their modules agree on Data
}

/** Inside a thread: the way to its owner. */
export function ownerPort<FromOwner, ToOwner>(): ControlPort<FromOwner, ToOwner> {
  assert(parentPort !== null, 'the main thread has no owner');
  return new ControlPort<FromOwner, ToOwner>(parentPort);
}

export interface ThreadOptions {
  /** For error texts and debuggers, such as `gateway 1`. */
  readonly name: string;
  readonly module: URL;
  /** Given to the thread's body. */
  readonly data: unknown;
  readonly transferList?: readonly Transferable[];
  readonly resourceLimits?: ResourceLimits;
}

export interface ThreadEvents<FromThread> {
  onMessage?(message: FromThread): void;
  /**
   * The thread is gone though nobody asked it to stop; or it failed while it stopped. Called once. An error before
   * `ready` goes to the promise of `startThread` instead.
   */
  onFailure(error: Error): void;
}

/** A started thread, as its owner holds it. */
export class Thread<ToThread, FromThread> {
  readonly name: string;
  /** Resolves when the thread has ended, however it did. */
  readonly exited: Promise<void>;
  readonly #worker: Worker;
  readonly #control: ControlPort<FromThread, ToThread>;

  private constructor(name: string, worker: Worker, control: ControlPort<FromThread, ToThread>, exited: Promise<void>) {
    this.name = name;
    this.#worker = worker;
    this.#control = control;
    this.exited = exited;
  }

  /** Starts a thread and resolves when it says that it is ready; rejects with its error when it ends before. */
  static start<To, From>(options: ThreadOptions, events: ThreadEvents<From>): Promise<Thread<To, From>> {
    const { resourceLimits, transferList = [] } = options;
    const worker = new Worker(options.module, {
      name: options.name,
      workerData: options.data,
      transferList: [...transferList],
      ...execArgvFor(options.module),
      ...(resourceLimits === undefined ? {} : { resourceLimits }),
    });
    const control = new ControlPort<From, To>(worker);
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    const thread = new Thread<To, From>(options.name, worker, control, exited);
    return thread.#whenReady(events);
  }

  send(message: ToThread, transferList: readonly Transferable[] = []): void {
    this.#control.send(message, transferList);
  }

  /** Asks the thread to end; false when it has not within `capMs`. It goes on ending all the same. */
  async stop(capMs: number): Promise<boolean> {
    this.#control.stop();
    let timer: NodeJS.Timeout | undefined;
    const capped = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), capMs);
    });
    const ended = await Promise.race([this.exited.then(() => true), capped]);
    clearTimeout(timer);
    return ended;
  }

  #whenReady(events: ThreadEvents<FromThread>): Promise<this> {
    return new Promise((resolve, reject) => {
      let failed = false;
      let report = (error: Error): void => reject(error);
      const fail = (error: Error): void => {
        if (failed) return;
        failed = true;
        report(error);
      };
      this.#worker.on('error', fail);
      this.#worker.on('messageerror', fail);
      this.#worker.on('exit', (code) => {
        if (!this.#control.stopSent || code !== 0) fail(new Error(`${this.name} ended with code ${code}`));
      });
      this.#control.listen({
        onReady: () => {
          report = (error) => events.onFailure(error);
          resolve(this);
        },
        onMessage: (message) => events.onMessage?.(message),
      });
    });
  }
}
