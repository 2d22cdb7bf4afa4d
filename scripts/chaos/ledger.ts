/**
 * What writers wrote, and what they were told about it: the memory of a chaos run, outside of what is struck.
 *
 *   lww   map, key ─▶ writes {stamp, value, reached}      reached: the level that an ack stated, UNKNOWN without one
 *   or    map, tag ─▶ {key, value, added, removed}        removed: NEVER when nobody asked for it
 *   doors what was written by HTTP, Redis and counters    (door-ledger.ts)
 *
 * Writers hold the entries themselves and raise `reached` when an ack comes. What the checker has found on disk is settled:
 * of a key one write stays, so that a run of hundreds of cycles needs memory for its keys, not for its writes.
 */
import { compareStampsOf } from '../../gateway/testing/client-maps.ts';
import type { Stamp } from '../../engine/crdt/hlc.ts';
import { DoorLedger } from './door-ledger.ts';
import { SEEN, UNKNOWN } from './levels.ts';
import type { Snapshot } from './snapshot.ts';

/** Nobody asked for this removal. */
export const NEVER = -1;

/** One write of a key of an LWW map. */
export interface LwwWrite {
  readonly stamp: Stamp;
  /** Its JSON text; undefined is a removal. */
  readonly value: string | undefined;
  reached: number;
}

/** One tag of an OR-Map: it is added once, and removed for good. */
export interface OrTag {
  readonly key: string;
  readonly tag: string;
  readonly value: string;
  added: number;
  removed: number;
}

export class Ledger {
  readonly lww = new Map<string, Map<string, LwwWrite[]>>();
  readonly or = new Map<string, Map<string, OrTag>>();
  readonly doors = new DoorLedger();
  /** Writes noted in all. */
  writes = 0;

  /** Notes a write whose fate is unknown so far. */
  put(map: string, key: string, stamp: Stamp, value: string | undefined): LwwWrite {
    const write = { stamp, value, reached: UNKNOWN };
    const keys = entryOf(this.lww, map, () => new Map<string, LwwWrite[]>());
    entryOf(keys, key, () => []).push(write);
    this.writes += 1;
    return write;
  }

  add(map: string, key: string, tag: string, value: string): OrTag {
    const entry = { key, tag, value, added: UNKNOWN, removed: NEVER };
    entryOf(this.or, map, () => new Map<string, OrTag>()).set(tag, entry);
    this.writes += 1;
    return entry;
  }

  /** Notes that the removal of a tag was asked for. */
  remove(entry: OrTag): void {
    entry.removed = Math.max(entry.removed, UNKNOWN);
    this.writes += 1;
  }

  /**
   * Takes what a server showed that had started anew: it is on disk, and older writes of its keys do not matter any more.
   * What is not there and was acknowledged below `demand` is gone for good, or will come again from its writer.
   */
  settle(snapshot: Snapshot, demand: number): void {
    for (const [map, keys] of this.lww) {
      for (const [key, writes] of keys) keys.set(key, settledWrites(writes, snapshot.lww.get(map)?.get(key)?.stamp, demand));
    }
    for (const [map, tags] of this.or) {
      for (const entry of tags.values()) settleTag(entry, snapshot.or.get(map)?.has(entry.tag) === true, demand);
    }
    this.doors.settle(snapshot, demand);
  }
}

/** The write that was seen, and newer ones. */
function settledWrites(writes: readonly LwwWrite[], seen: Stamp | undefined, demand: number): LwwWrite[] {
  return writes.filter((write) => {
    const order = seen === undefined ? 1 : compareStampsOf(write.stamp, seen);
    if (order === 0) write.reached = SEEN;
    else if (write.reached < demand) write.reached = UNKNOWN;
    return order >= 0;
  });
}

function settleTag(entry: OrTag, isLive: boolean, demand: number): void {
  if (isLive) {
    entry.added = SEEN;
    if (entry.removed > UNKNOWN && entry.removed < demand) entry.removed = UNKNOWN;
  } else if (entry.removed !== NEVER && entry.added !== UNKNOWN) {
    entry.removed = SEEN;
  } else if (entry.added < demand) {
    entry.added = UNKNOWN;
  }
}

function entryOf<V>(map: Map<string, V>, key: string, make: () => V): V {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}
