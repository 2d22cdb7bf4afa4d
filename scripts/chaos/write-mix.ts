/**
 * What a writer writes next: the mix of operations, keys, values and levels, all by the writer's own generator.
 *
 *   LWW   7 of 12 puts, 1 of 12 removals, half over keys that all writers share
 *   OR    3 of 12 adds of a tag, 1 of 12 removals of a tag that it added or that somebody else did
 *
 * Keys are bounded and so are live tags, so that a run of hours needs the memory of its keys. Values are unique: each
 * carries the writer and a number, and up to 300 bytes beside.
 */
import { HybridLogicalClock, type Stamp } from '../../engine/crdt/hlc.ts';
import type { Message } from '../../gateway/testing/client-codec.ts';
import { stampText } from '../../gateway/testing/client-maps.ts';
import type { Random } from '../../gateway/testing/random.ts';
import { type Ledger, type LwwWrite, NEVER, type OrTag } from './ledger.ts';

export const LWW_MAPS = ['chaos-notes', 'chaos-todos'] as const;
export const OR_MAPS = ['chaos-tags'] as const;

const SHARED_KEYS = 120;
const OWN_KEYS = 25;
const LIVE_TAGS_MAX = 30;
const PADDING_MAX = 300;

/** Levels that an op or a batch may ask for, as often as they stand here; undefined asks for none. */
const CONCERNS = [
  undefined,
  undefined,
  undefined,
  undefined,
  'FIRE_AND_FORGET',
  'MEMORY',
  'APPLIED',
  'APPLIED',
  'PERSISTED',
  'PERSISTED',
  'REPLICATED',
] as const;

/** An op on its way, and where the ledger wants to hear of it. */
export interface PendingOp {
  readonly id: number;
  readonly message: Message;
  /** Level that it was sent with, its batch's or its own. */
  readonly concern: string | undefined;
  /** Raises what the ledger knows. */
  readonly reach: (level: number) => void;
}

/** Tags that are live as far as the writers know, over all of them. */
export class SharedTags {
  readonly tags: { readonly map: string; readonly entry: OrTag }[] = [];
}

export class WriteMix {
  readonly #nodeId: string;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #shared: SharedTags;
  readonly #clock: HybridLogicalClock;
  readonly #own: { map: string; entry: OrTag }[] = [];
  #nextId = 1;

  constructor(nodeId: string, random: Random, ledger: Ledger, shared: SharedTags) {
    this.#nodeId = nodeId;
    this.#random = random;
    this.#ledger = ledger;
    this.#shared = shared;
    this.#clock = new HybridLogicalClock(nodeId, Date.now);
  }

  /** One to twelve ops, and the level that the batch asks for. Half of the time each op asks for itself. */
  batch(): { readonly ops: PendingOp[]; readonly concern: string | undefined } {
    const random = this.#random;
    const isOneByOne = random.below(2) === 0;
    const concern = isOneByOne ? undefined : random.pick(CONCERNS);
    const ops = Array.from({ length: 1 + random.below(12) }, () => this.#op(isOneByOne ? random.pick(CONCERNS) : undefined));
    return { ops: concern === undefined ? ops : ops.map((op) => ({ ...op, concern })), concern };
  }

  #op(concern: string | undefined): PendingOp {
    const dice = this.#random.below(12);
    if (dice < 8) return this.#lww(dice === 7, concern);
    if (dice < 11 && this.#own.length < LIVE_TAGS_MAX) return this.#add(concern);
    return this.#removeTag(concern) ?? this.#add(concern);
  }

  #lww(isRemoval: boolean, writeConcern: string | undefined): PendingOp {
    const map = this.#random.pick(LWW_MAPS);
    const key = this.#key();
    const stamp = this.#clock.now();
    const value = isRemoval ? null : this.#value();
    const write: LwwWrite = this.#ledger.put(map, key, stamp, value === null ? undefined : JSON.stringify(value));
    const record = { value, timestamp: stamp };
    return this.#pending({ mapName: map, opType: isRemoval ? 'REMOVE' : 'PUT', key, record }, stamp, writeConcern, (level) => {
      write.reached = Math.max(write.reached, level);
    });
  }

  #add(writeConcern: string | undefined): PendingOp {
    const map = this.#random.pick(OR_MAPS);
    const key = this.#key();
    const stamp = this.#clock.now();
    const tag = stampText(stamp);
    const value = this.#value();
    const entry = this.#ledger.add(map, key, tag, JSON.stringify(value));
    this.#own.push({ map, entry });
    if (this.#random.below(4) === 0) this.#shared.tags.push({ map, entry });
    const orRecord = { value, timestamp: stamp, tag };
    return this.#pending({ mapName: map, opType: 'OR_ADD', key, orRecord }, stamp, writeConcern, (level) => {
      entry.added = Math.max(entry.added, level);
    });
  }

  #removeTag(writeConcern: string | undefined): PendingOp | undefined {
    const isShared = this.#random.below(4) === 0 && this.#shared.tags.length > 0;
    const tags = isShared ? this.#shared.tags : this.#own;
    const [taken] = tags.splice(this.#random.below(tags.length), 1);
    if (taken === undefined) return undefined;
    const { map, entry } = taken;
    if (entry.removed === NEVER) this.#ledger.remove(entry);
    const message = { mapName: map, opType: 'OR_REMOVE', key: entry.key, orTag: entry.tag };
    return this.#pending(message, this.#clock.now(), writeConcern, (level) => {
      entry.removed = Math.max(entry.removed, level);
    });
  }

  #pending(message: Message, timestamp: Stamp, concern: string | undefined, reach: PendingOp['reach']): PendingOp {
    const id = this.#nextId++;
    const asks = concern === undefined ? {} : { writeConcern: concern };
    return { id, message: { ...message, timestamp, synced: false, id: String(id), ...asks }, concern, reach };
  }

  #key(): string {
    const isShared = this.#random.below(2) === 0;
    return isShared ? `shared-${this.#random.below(SHARED_KEYS)}` : `${this.#nodeId}-${this.#random.below(OWN_KEYS)}`;
  }

  #value(): { readonly by: string; readonly text: string } {
    return { by: `${this.#nodeId}#${this.#nextId}`, text: 'x'.repeat(this.#random.below(PADDING_MAX)) };
  }
}
