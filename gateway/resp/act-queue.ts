/**
 * Acts over several workers that may run now: no two that touch the same key, save when both only read it.
 *
 *   enter ─ nobody before it, running or waiting, is in its way ─▶ runs ─ leave ─▶ the next ones
 *
 * In the order in which they came, so that none is passed over for ever, and each gets all of its keys at once, so that none waits
 * while it holds some. Acts that read the same key run together only for a while: workers keep writers waiting as long as one holds it.
 */
import { nameOf, type Touched } from '../../engine/domains/kv/touched-keys.ts';

interface Entry {
  readonly isWrite: boolean;
  readonly isEverything: boolean;
  readonly names: ReadonlySet<string>;
  readonly start: () => void;
  isRunning: boolean;
  /** When the first of the acts that read together began. */
  sinceMs: number;
}

/** Acts running at once; the workers look at each for each command. */
const RUNNING_MAX = 32;
const WAITING_MAX = 10_000;
/** Acts looked at for one that may begin. */
const LOOKED_MAX = 256;
const READ_TOGETHER_MS = 5;

export class ActQueue {
  readonly #entries = new Set<Entry>();
  readonly #nowMs: () => number;
  #running = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Resolves with what ends the act when it may run; undefined: too many wait. */
  async enter({ isWrite, isEverything, keys }: Touched): Promise<(() => void) | undefined> {
    if (this.#entries.size >= WAITING_MAX) return undefined;
    const names = new Set(keys.map(nameOf));
    let entry: Entry | undefined;
    await new Promise<void>((start) => {
      entry = { isWrite, isEverything, names, start, isRunning: false, sinceMs: 0 };
      this.#entries.add(entry);
      this.#start();
    });
    return () => {
      if (entry === undefined || !this.#entries.delete(entry)) return;
      this.#running -= 1;
      this.#start();
    };
  }

  #start(): void {
    const before: Entry[] = [];
    for (const entry of this.#entries) {
      if (this.#running >= RUNNING_MAX || before.length >= LOOKED_MAX) return;
      if (!entry.isRunning && before.every((other) => this.#mayRunBeside(entry, other))) {
        const together = before.filter((other) => meet(entry, other)).map(({ sinceMs }) => sinceMs);
        entry.isRunning = true;
        entry.sinceMs = Math.min(this.#nowMs(), ...together);
        this.#running += 1;
        entry.start();
      }
      before.push(entry);
    }
  }

  #mayRunBeside(entry: Entry, other: Entry): boolean {
    if (!meet(entry, other)) return true;
    const bothRead = !entry.isWrite && !other.isWrite;
    return bothRead && other.isRunning && this.#nowMs() - other.sinceMs < READ_TOGETHER_MS;
  }
}

function meet(left: Entry, right: Entry): boolean {
  if (left.isEverything || right.isEverything) return true;
  const [few, many] = left.names.size < right.names.size ? [left.names, right.names] : [right.names, left.names];
  for (const name of few) if (many.has(name)) return true;
  return false;
}
