/**
 * What was written through doors where the server stamps, so that no stamp tells one write from another.
 *
 *   registers  map, key ─▶ attempts in their order      written by one writer, one write at a time: the last one known to
 *                                                       have been taken is there, or one that was made after it
 *   sums       counter, node ─▶ {sent, told}            told ≤ what is there ≤ sent, on both sides
 *
 * A writer that is left without an answer never writes that key again: its last attempt may arrive at any time.
 */
import { LEVEL_NAMES, SEEN, UNKNOWN } from './levels.ts';
import type { Side, Snapshot, StoredSum } from './snapshot.ts';
import type { Violation } from './violation.ts';

type Finding = Omit<Violation, 'place'>;

const COUNTERS_PLACE = 'counters';
const SIDES: readonly Side[] = ['positive', 'negative'];
const NOTHING: StoredSum = { positive: 0, negative: 0 };

/** One write of a register. */
export interface Attempt {
  /** As JSON text; undefined is a removal. */
  readonly value: string | undefined;
  reached: number;
}

export class Register {
  #attempts: Attempt[] = [{ value: undefined, reached: SEEN }];

  /** Notes a write whose fate is unknown so far. */
  write(value: string | undefined): Attempt {
    const attempt = { value, reached: UNKNOWN };
    this.#attempts.push(attempt);
    return attempt;
  }

  violation(seen: string | undefined, demand: number): Finding | undefined {
    const last = this.#attempts.findLastIndex(({ reached }) => reached >= demand);
    const possible = this.#attempts.slice(Math.max(0, last));
    if (possible.some(({ value }) => value === seen)) return undefined;
    const [known] = possible;
    const text = `${shortText(known?.value)} acknowledged at ${LEVEL_NAMES[known?.reached ?? 0]}, there is ${shortText(seen)}`;
    if (seen !== undefined && !this.#attempts.some(({ value }) => value === seen)) return { kind: 'unwritten', text };
    return { kind: known?.value === undefined ? 'resurrected' : 'lost', text };
  }

  /** Takes what is on the disk; `demand` as `Ledger.settle`. */
  settle(seen: string | undefined, demand: number): void {
    const at = this.#attempts.findLastIndex(({ value }) => value === seen);
    const later = this.#attempts.slice(at + 1);
    for (const attempt of later) if (attempt.reached < demand) attempt.reached = UNKNOWN;
    this.#attempts = [{ value: seen, reached: SEEN }, ...later];
  }
}

/** What one node of a PN counter added and subtracted. */
export class Sum {
  readonly sent = { ...NOTHING };
  readonly told = { ...NOTHING };
  /** Level of what was told. */
  readonly #level: number;
  #settled = NOTHING;

  constructor(level: number) {
    this.#level = level;
  }

  violation(seen: StoredSum | undefined, demand: number): Finding | undefined {
    for (const side of SIDES) {
      const known = Math.max(this.#settled[side], this.#level >= demand ? this.told[side] : 0);
      const there = seen?.[side] ?? 0;
      if (there < known) return { kind: 'lost', text: `${known} ${side} was acknowledged, there is ${there}` };
      if (there > this.sent[side]) return { kind: 'unwritten', text: `${this.sent[side]} ${side} was sent, there is ${there}` };
    }
    return undefined;
  }

  settle(seen: StoredSum | undefined, demand: number): void {
    this.#settled = seen ?? NOTHING;
    if (this.#level < demand) Object.assign(this.told, NOTHING);
  }
}

export class DoorLedger {
  readonly registers = new Map<string, Map<string, Register>>();
  readonly sums = new Map<string, Map<string, Sum>>();

  register(map: string, key: string): Register {
    const registers = this.registers.get(map) ?? new Map<string, Register>();
    const register = registers.get(key) ?? new Register();
    this.registers.set(map, registers.set(key, register));
    return register;
  }

  sum(counter: string, node: string, level: number): Sum {
    const sums = this.sums.get(counter) ?? new Map<string, Sum>();
    const sum = sums.get(node) ?? new Sum(level);
    this.sums.set(counter, sums.set(node, sum));
    return sum;
  }

  check(snapshot: Snapshot, demand: number): Violation[] {
    const found: Violation[] = [];
    const note = (place: string, what: string, finding: Finding | undefined): void => {
      if (finding !== undefined) found.push({ ...finding, place, text: `${what}: ${finding.text}` });
    };
    for (const [map, registers] of this.registers)
      for (const [key, register] of registers) note(map, key, register.violation(snapshot.lww.get(map)?.get(key)?.value, demand));
    for (const [counter, sums] of this.sums)
      for (const [node, sum] of sums)
        note(COUNTERS_PLACE, `${counter} of ${node}`, sum.violation(snapshot.counters.get(counter)?.get(node), demand));
    for (const [counter, nodes] of snapshot.counters)
      for (const node of nodes.keys())
        if (this.sums.get(counter)?.has(node) !== true)
          found.push({ kind: 'unwritten', place: COUNTERS_PLACE, text: `${counter} has a node ${node}` });
    return found;
  }

  /** As `Ledger.settle`. */
  settle(snapshot: Snapshot, demand: number): void {
    for (const [map, registers] of this.registers)
      for (const [key, register] of registers) register.settle(snapshot.lww.get(map)?.get(key)?.value, demand);
    for (const [counter, sums] of this.sums)
      for (const [node, sum] of sums) sum.settle(snapshot.counters.get(counter)?.get(node), demand);
  }
}

function shortText(value: string | undefined): string {
  return value === undefined ? 'nothing' : value.slice(0, 60);
}
