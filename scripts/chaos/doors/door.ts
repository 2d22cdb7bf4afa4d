/** A way into the server beside the map ops of the WebSocket, and what a writer at it shares with all others. */
import type { Random } from '../../../gateway/testing/random.ts';
import type { Ledger } from '../ledger.ts';
import type { WriterCounts } from '../writer.ts';

/** Where the server listens. */
export interface Target {
  readonly port: number;
  readonly respPort: number;
}

export interface Door {
  open(target: Target): Promise<void>;
  /** Makes one write and notes what became of it; rejects when the connection is lost before anybody knows. */
  write(): Promise<void>;
  close(): void;
}

export interface DoorOptions {
  /** Names the writer; no other has this name. */
  readonly nodeId: string;
  readonly random: Random;
  readonly ledger: Ledger;
  readonly counts: WriterCounts;
  /** Level of what is answered without having asked for one. */
  readonly plainLevel: number;
}

/** Counts one acknowledged write through a door. */
export function acknowledged(counts: WriterCounts, level: number, what: string): void {
  counts.acknowledged[level] = (counts.acknowledged[level] ?? 0) + 1;
  passed(counts, what);
}

/** Counts what was done at a door, for the report. */
export function passed({ doors }: WriterCounts, what: string, amount = 1): void {
  doors.set(what, (doors.get(what) ?? 0) + amount);
}

/** Counts one refusal by its first words. */
export function refused({ refused: counts }: WriterCounts, reason: string): void {
  const [code = ''] = /^(\d+ )?\w+/.exec(reason) ?? [];
  counts.set(code, (counts.get(code) ?? 0) + 1);
}
