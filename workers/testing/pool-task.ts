/** A worker that counts and answers, and dies in every way on request. */
import { workerTask } from '../worker-task.ts';

export type PoolTaskRequest =
  | 'ping'
  | 'throw'
  | 'throw-in-timer'
  | 'exit'
  | 'out-of-memory'
  | 'loop'
  | 'return'
  | 'fail-at-stop'
  | 'hang-at-stop';

export interface PoolTaskData {
  readonly greeting: string;
  /** Throws instead of getting ready. */
  readonly failAtStart: boolean;
  /** Dies as soon as it is ready. */
  readonly diesWhenReady?: boolean;
  /** Is not ready before the first word is 1. */
  readonly gate?: Int32Array;
}

export interface PoolTaskReply {
  readonly workerId: number;
  readonly launch: number;
  readonly greeting: string;
  readonly pings: number;
}

export const run = workerTask<PoolTaskData, PoolTaskRequest, PoolTaskReply>(async (context) => {
  const { failAtStart, diesWhenReady, gate } = context.data;
  if (failAtStart) throw new Error('cannot start');
  while (gate !== undefined && Atomics.load(gate, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  let pings = 0;
  let atStop: PoolTaskRequest | undefined;
  const beat = setInterval(() => context.heartbeat.beat(), 10);
  await new Promise<void>((resolve, reject) => {
    context.listen({
      onStop: resolve,
      onMessage: (request) => {
        if (request === 'ping') {
          pings += 1;
          context.send({ workerId: context.workerId, launch: context.launch, greeting: context.data.greeting, pings });
        } else if (request === 'throw') reject(new Error('thrown on request'));
        else if (request === 'throw-in-timer') setTimeout(() => throwNow(), 1);
        else if (request === 'exit') process.exit(3);
        else if (request === 'out-of-memory') fillHeap();
        else if (request === 'loop') for (;;);
        else if (request === 'return') resolve();
        else atStop = request;
      },
    });
    context.ready();
    if (diesWhenReady === true && context.launch === 0) setTimeout(() => reject(new Error('died when it was ready')), 1);
  });
  clearInterval(beat);
  if (atStop === 'fail-at-stop') throw new Error('failed to flush');
  if (atStop === 'hang-at-stop') await new Promise(() => setInterval(() => {}, 1000));
});

function throwNow(): never {
  throw new Error('thrown outside of the task');
}

function fillHeap(): void {
  const kept: number[][] = [];
  for (;;) kept.push(new Array<number>(10_000).fill(1.5));
}
