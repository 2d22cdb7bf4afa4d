/** SLOWLOG and LATENCY: turns of connections that took long, from their last byte to their reply; a bounded list, newest first. */
export interface SlowTurn {
  readonly id: number;
  readonly atSeconds: number;
  readonly micros: number;
  readonly command: string;
  readonly commands: number;
  readonly address: string;
  readonly name: string;
  readonly user: string;
}

export class SlowLog {
  /** Turns that take as long are noted; below 0 none is. */
  thresholdMicros = 10_000;
  lengthMax = 128;
  #turns: SlowTurn[] = [];
  #number = 0;

  get turns(): readonly SlowTurn[] {
    return this.#turns;
  }

  note(turn: Omit<SlowTurn, 'id'>): void {
    if (this.thresholdMicros < 0 || turn.micros < this.thresholdMicros) return;
    this.#turns.unshift({ ...turn, id: this.#number });
    this.#number += 1;
    if (this.#turns.length > this.lengthMax) this.#turns.length = this.lengthMax;
  }

  clear(): void {
    this.#turns = [];
  }
}
