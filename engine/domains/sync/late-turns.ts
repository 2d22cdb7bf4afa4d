/**
 * Whose late answer is made: a few at a time, since each holds some megabytes; the others wait.
 *
 *   take ─▶ fewer than `answersMax` are made? ─▶ made ─▶ giveBack ─▶ the next asker in the round
 *             └─ else behind the others of its asker         forget ─▶ those of an asker that is gone end, or never begin
 *
 * Askers go one after another, each with its oldest: one that has asked for much keeps the others waiting for little.
 */
import { GridError } from '../../protocol/errors.ts';

export interface LateTurn {
  readonly asker: string;
  /** Whoever asked is gone: nobody waits for the rest. */
  isOver: boolean;
}

interface Waiting {
  readonly turn: LateTurn;
  readonly begin: () => void;
  readonly refuse: (error: GridError) => void;
}

export class LateTurns {
  readonly #answersMax: number;
  readonly #waitingMax: number;
  readonly #made = new Set<LateTurn>();
  /** By asker; the first in the map is the next. */
  readonly #queues = new Map<string, Waiting[]>();
  #waiting = 0;

  constructor(answersMax: number, waitingMax: number) {
    this.#answersMax = answersMax;
    this.#waitingMax = waitingMax;
  }

  /** Answers under way and waiting. */
  get answers(): number {
    return this.#made.size + this.#waiting;
  }

  /** Resolves when it is the asker's turn, which it gives back. Rejects with GridError. */
  async take(asker: string): Promise<LateTurn> {
    const turn: LateTurn = { asker, isOver: false };
    if (this.#made.size < this.#answersMax) {
      this.#made.add(turn);
      return turn;
    }
    if (this.#waiting >= this.#waitingMax) throw new GridError('UNAVAILABLE', 'too many answers wait for their turn');
    await new Promise<void>((begin, refuse) => {
      const queue = this.#queues.get(asker) ?? [];
      queue.push({ turn, begin, refuse });
      this.#queues.set(asker, queue);
      this.#waiting += 1;
    });
    return turn;
  }

  giveBack(turn: LateTurn): void {
    this.#made.delete(turn);
    for (const [asker, queue] of this.#queues) {
      const next = queue.shift();
      this.#queues.delete(asker); // and behind the others, if more of its wait
      if (queue.length > 0) this.#queues.set(asker, queue);
      if (next === undefined) continue;
      this.#waiting -= 1;
      this.#made.add(next.turn);
      next.begin();
      return;
    }
  }

  forget(asker: string): void {
    for (const turn of this.#made) if (turn.asker === asker) turn.isOver = true;
    const queue = this.#queues.get(asker) ?? [];
    this.#queues.delete(asker);
    this.#waiting -= queue.length;
    for (const { refuse } of queue) refuse(new GridError('UNAVAILABLE', 'whoever asked is gone'));
  }
}
