/** The ways in which a thread dies, on request: what bugs, and the world, do to one without asking. */
import type { DeathWay } from '../../engine/faults.ts';

/** Ends this thread, or makes it worth ending. Called outside of promises, where an error ends the thread. */
export function die(way: DeathWay, who: string): void {
  switch (way) {
    case 'throw':
      throw new Error(`${who}: crash asked for`);
    case 'exit':
      process.exit(3); // of a thread: ends the thread alone
      break;
    case 'loop':
      for (;;); // the heart stands still, and the pool notices
    case 'memory':
      fillHeap();
  }
}

/** Numbers of eight bytes, kept: the heap's limit ends the thread. */
function fillHeap(): never {
  const kept: number[][] = [];
  for (;;) kept.push(new Array<number>(100_000).fill(1.5));
}
