/**
 * The thread's side of a worker pool: a task that never ends by itself, on a thread of its own.
 *
 *   pool  run(task) ──► body(task, stopSignal) … ready() …… stop ──► body returns ──► the run resolves
 *                        └─ throws ──► the error ends the thread ──► the run rejects, the pool starts a new one
 *
 * A task that fails must take its thread with it: timers, ports and sockets of the dead task would go on beside the next
 * one. So an error is thrown again outside of any promise, where Node ends the thread and gives the pool the error.
 */
import type { MessagePort } from 'node:worker_threads';
import { ControlPort, type ControlListener } from './control-port.ts';
import { Heartbeat } from './heartbeat.ts';

/** What the pool gives to a run. */
export interface WorkerTask<Data> {
  readonly workerId: number;
  /** 0 for the first thread of this worker, 1 for the one that replaces it, and so on. */
  readonly launch: number;
  readonly heartbeat: SharedArrayBuffer;
  readonly control: MessagePort;
  readonly data: Data;
}

/** What a task's body works with. */
export interface WorkerContext<Data, In, Out> {
  readonly workerId: number;
  readonly launch: number;
  readonly data: Data;
  /** To be beaten once per turn; standing still for long ends the thread. Not watched before `ready`, or the first beat. */
  readonly heartbeat: Heartbeat;
  /** Says that the worker is up. Call it once. */
  ready(): void;
  send(message: Out): void;
  /** Hears the pool's stop and messages. Those that came before are not lost: the port begins to flow here. */
  listen(listener: ControlListener<In>): void;
}

/** Makes a task module's export `run` out of its body, which returns after it was asked to stop. */
export function workerTask<Data, In = never, Out = never>(
  body: (context: WorkerContext<Data, In, Out>) => Promise<void>,
): (task: WorkerTask<Data>) => Promise<void> {
  return async (task) => {
    const control = new ControlPort<In, Out>(task.control);
    const heartbeat = new Heartbeat(task.heartbeat);
    try {
      await body({
        workerId: task.workerId,
        launch: task.launch,
        data: task.data,
        heartbeat,
        ready: () => {
          heartbeat.beat(); // from here on the pool watches
          control.ready();
        },
        send: (message) => control.send(message),
        listen: (listener) => control.listen(listener),
      });
    } catch (error) {
      await endThread(error);
    }
    control.close();
  };
}

function endThread(error: unknown): Promise<never> {
  setImmediate(() => {
    throw error;
  });
  return new Promise(() => {}); // the run must not settle before the thread is gone
}
