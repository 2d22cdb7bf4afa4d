/**
 * What every MapDataStore must do, over a source that is a Map and a DataStore in memory.
 *
 * The source checks its caller: a reference that was moved or pruned is never asked about again.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GridError } from '../protocol/errors.ts';
import type { DataStore } from './data-store.ts';
import type { FlushTime } from './flusher.ts';
import type { MapDataStore, StagedSource } from './map-data-store.ts';
import { MemoryDataStore } from './memory-data-store.ts';
import { fillImage, identityOf, imageOf, type RecordFields, recordOf, type StoredRecord } from './stored-record.ts';
import { KIND_LWW, KIND_OR, type RecordImage, type RecordKind } from './record.ts';
import type { RecordRef } from './storage.ts';
import { turn, VirtualTime } from './virtual-time.ts';

export interface MapDataStoreTraits {
  /** False for a pure cache: whatever happens, nothing is staged and the data store stays empty. */
  readonly persists: boolean;
}

export type CreateMapDataStore = (dataStore: DataStore, time: FlushTime) => MapDataStore;

/** Registers the suite under `name`. */
export function testMapDataStore(name: string, create: CreateMapDataStore, traits: MapDataStoreTraits): void {
  describe(`${name} is a MapDataStore`, () => {
    const world = (): World => new World(create);
    nothingStaged(world);
    flushing(world, traits);
    removing(world, traits);
    if (traits.persists) whenAway(world);
  });
}

/** One MapDataStore with its surroundings. */
export class World<Tested extends MapDataStore = MapDataStore> {
  readonly time = new VirtualTime();
  readonly dataStore = new MemoryDataStore((ms) => this.time.wait(ms));
  readonly store: Tested;
  readonly lww: FakeSource;
  readonly or: FakeSource;

  constructor(create: (dataStore: DataStore, time: FlushTime) => Tested) {
    this.store = create(this.dataStore, this.time);
    this.lww = new FakeSource(KIND_LWW, 'lww', this.store, this.time);
    this.or = new FakeSource(KIND_OR, 'or', this.store, this.time);
  }

  /** Lets time pass, then does what the worker's tick does, and waits until promises stand still. */
  async tick(ms: number): Promise<void> {
    this.time.advance(ms);
    this.store.softFlush(this.time.nowMs());
    await turn();
  }

  /** Holds commits and burials in flight from now on. */
  holdCommits(): CommitGate {
    const gate = new CommitGate();
    this.dataStore.faults.beforeCommit = () => gate.hold();
    return gate;
  }

  /** Rows that memory holds, as the data store should. */
  expected(): StoredRecord[] {
    return [...this.lww.records(), ...this.or.records()];
  }

  assertPersisted(): void {
    assert.deepEqual(this.dataStore.rows, new Map(this.expected().map((record) => [identityOf(record), record])));
  }
}

/** Where commits wait until the test lets them go on, first come first. */
export class CommitGate {
  readonly #held: (() => void)[] = [];
  #open = false;

  hold(): Promise<void> {
    if (this.#open) return Promise.resolve();
    return new Promise((resolve) => this.#held.push(resolve));
  }

  get held(): number {
    return this.#held.length;
  }

  /** Lets the oldest go, and waits until promises stand still. */
  async release(): Promise<void> {
    this.#held.shift()?.();
    await turn();
  }

  /** Lets all go, and all that come later. */
  async open(): Promise<void> {
    this.#open = true;
    for (const resolve of this.#held.splice(0)) resolve();
    await turn();
  }
}

interface Cell {
  record: StoredRecord;
  stagedAt: number;
}

/** The store of one map and kind, as far as layer 3 sees it; writes are merged by the test. */
export class FakeSource implements StagedSource {
  readonly kind: RecordKind;
  readonly map: Uint8Array;
  readonly #target: MapDataStore;
  readonly #time: FlushTime;
  readonly #cells = new Map<RecordRef, Cell>();
  readonly #refs = new Map<string, RecordRef>();
  #lastRef = 0;

  constructor(kind: RecordKind, map: string, target: MapDataStore, time: FlushTime) {
    this.kind = kind;
    this.map = new TextEncoder().encode(map);
    this.#target = target;
    this.#time = time;
  }

  read(ref: RecordRef, into: RecordImage): void {
    fillImage(this.#cell(ref).record, into);
  }

  stagedAt(ref: RecordRef): number {
    return this.#cell(ref).stagedAt;
  }

  setStagedAt(ref: RecordRef, position: number): void {
    this.#cell(ref).stagedAt = position;
  }

  costBytes(ref: RecordRef): number {
    return costOf(this.#cell(ref).record);
  }

  records(): StoredRecord[] {
    return [...this.#cells.values()].map((cell) => cell.record);
  }

  get(key: string, tag = ''): StoredRecord | undefined {
    const ref = this.#refs.get(`${key}/${tag}`);
    return ref === undefined ? undefined : this.#cell(ref).record;
  }

  /** Inserts or overwrites, as the merge decided; `isMoved` puts an overwritten record at another reference, as another cost does. */
  write(fields: RecordFields & { readonly key: string; readonly tag?: string }, isMoved = false): void {
    const record = recordOf({ ...fields, kind: this.kind, map: this.map });
    const name = `${fields.key}/${fields.tag ?? ''}`;
    const stored = this.#refs.get(name);
    const moves = isMoved || (stored !== undefined && costOf(this.#cell(stored).record) !== costOf(record));
    const cell: Cell = { record, stagedAt: stored === undefined ? 0 : this.#cell(stored).stagedAt };
    const ref = stored !== undefined && !moves ? stored : ++this.#lastRef;
    if (stored !== undefined && moves) this.#cells.delete(stored);
    this.#cells.set(ref, cell);
    this.#refs.set(name, ref);
    if (stored !== undefined && moves && cell.stagedAt !== 0) this.#target.moved(this, stored, ref);
    this.#target.changed(this, ref, this.#time.nowMs());
  }

  /** Removes a tombstone for good. */
  prune(key: string, tag = ''): void {
    const name = `${key}/${tag}`;
    const ref = this.#refs.get(name);
    assert.ok(ref !== undefined);
    const { record } = this.#cell(ref);
    assert.ok(record.tombstone);
    this.#target.pruned(this, ref, imageOf(record), this.#time.nowMs());
    this.#cells.delete(ref);
    this.#refs.delete(name);
  }

  #cell(ref: RecordRef): Cell {
    const cell = this.#cells.get(ref);
    assert.ok(cell !== undefined, `reference ${ref} is not valid`);
    return cell;
  }
}

/** What the fake source says that a record counts for. */
export function costOf(record: StoredRecord): number {
  return 100 + record.key.length + record.value.length;
}

function nothingStaged(world: () => World): void {
  test('a new one has nothing staged, no lag, room, and nothing to flush', async () => {
    const { store, time, dataStore } = world();
    assert.equal(store.stagedRecords, 0);
    assert.equal(store.stagedBytes, 0);
    assert.equal(store.lagMs(time.nowMs()), 0);
    assert.ok(store.admits(1000));
    store.softFlush(time.nowMs());
    await store.hardFlush(1);
    assert.equal(dataStore.commits, 0);
  });
}

function flushing(world: () => World, { persists }: MapDataStoreTraits): void {
  test('after a hard flush nothing is staged, and the data store holds what memory holds, or nothing at all', async () => {
    const it = world();
    for (let index = 0; index < 50; index++) {
      it.lww.write({ key: `k${index}`, value: `v${index}`, millis: 1 });
      it.or.write({ key: `k${index}`, tag: `t${index}`, value: `v${index}` });
    }
    for (let index = 0; index < 50; index += 3) it.lww.write({ key: `k${index}`, value: 'new', millis: 2 }, index % 2 === 0);
    it.or.write({ key: 'k1', tag: 't1', tombstone: true }, true);
    await it.time.run(it.store.hardFlush(1000));
    assert.equal(it.store.stagedRecords, 0);
    assert.equal(it.store.stagedBytes, 0);
    assert.equal(it.store.lagMs(it.time.nowMs()), 0);
    if (persists) it.assertPersisted();
    else assert.equal(it.dataStore.rows.size, 0);
  });

  test('a change after a flush is flushed by the next one', async () => {
    const it = world();
    it.lww.write({ key: 'k', value: 'a', millis: 1 });
    await it.time.run(it.store.hardFlush(1000));
    it.lww.write({ key: 'k', value: 'b', millis: 2 });
    await it.time.run(it.store.hardFlush(1000));
    if (persists) it.assertPersisted();
    else assert.equal(it.dataStore.rows.size, 0);
  });

  test('lag is the age of the oldest change that is not in the data store', async () => {
    const { store, time, lww } = world();
    lww.write({ key: 'old', value: 'v' });
    time.advance(30);
    lww.write({ key: 'young', value: 'v' });
    lww.write({ key: 'old', value: 'w', millis: 2 });
    time.advance(5);
    assert.equal(store.lagMs(time.nowMs()), persists ? 35 : 0);
    await time.run(store.hardFlush(1000));
    assert.equal(store.lagMs(time.nowMs()), 0);
  });
}

function removing(world: () => World, { persists }: MapDataStoreTraits): void {
  test('a tombstone that was flushed and then pruned leaves the data store', async () => {
    const it = world();
    it.lww.write({ key: 'k', tombstone: true });
    it.lww.write({ key: 'kept', value: 'v' });
    await it.time.run(it.store.hardFlush(1000));
    it.lww.prune('k');
    await it.time.run(it.store.hardFlush(1000));
    assert.equal(it.store.stagedBytes, 0);
    assert.equal(it.dataStore.rows.size, persists ? 1 : 0);
  });

  test('a tombstone pruned before it was flushed takes the older live row along', async () => {
    const it = world();
    it.lww.write({ key: 'k', value: 'live', millis: 1 });
    it.or.write({ key: 'k', tag: 't', value: 'live' });
    await it.time.run(it.store.hardFlush(1000));
    it.lww.write({ key: 'k', millis: 2, tombstone: true });
    it.or.write({ key: 'k', tag: 't', tombstone: true });
    it.lww.prune('k');
    it.or.prune('k', 't');
    await it.time.run(it.store.hardFlush(1000));
    assert.equal(it.store.stagedRecords, 0);
    assert.equal(it.store.stagedBytes, 0);
    assert.equal(it.dataStore.rows.size, 0);
  });

  test('a record pruned and written again, even with an older clock, is in the data store', async () => {
    const it = world();
    it.lww.write({ key: 'k', millis: 9, tombstone: true });
    await it.time.run(it.store.hardFlush(1000));
    it.lww.prune('k');
    it.lww.write({ key: 'k', value: 'again', millis: 5 });
    await it.time.run(it.store.hardFlush(1000));
    if (persists) it.assertPersisted();
    else assert.equal(it.dataStore.rows.size, 0);
  });
}

function whenAway(world: () => World): void {
  test('a hard flush over a store that hangs rejects at its deadline, and loses nothing', async () => {
    const it = world();
    it.dataStore.faults.hanging = true;
    it.lww.write({ key: 'k', value: 'v' });
    const startMs = it.time.nowMs();
    await assert.rejects(it.time.run(it.store.hardFlush(1000)), (error) => error instanceof GridError && error.retryable);
    assert.ok(it.time.nowMs() - startMs >= 1000);
    assert.ok(it.time.nowMs() - startMs <= 1100);
    assert.equal(it.store.stagedRecords, 1);

    it.dataStore.faults.hanging = false;
    await it.time.run(it.store.hardFlush(60_000));
    it.assertPersisted();
  });

  test('a soft flush over a store that is away never throws, and a later one brings everything', async () => {
    const it = world();
    it.dataStore.faults.commits.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
    it.lww.write({ key: 'k', value: 'v' });
    for (let tick = 0; tick < 5; tick++) {
      it.time.advance(100);
      it.store.softFlush(it.time.nowMs());
      await turn();
    }
    assert.equal(it.dataStore.faults.commits.length, 0);
    assert.equal(it.store.stagedRecords, 0);
    it.assertPersisted();
  });

  test('a commit whose answer is lost is repeated and changes nothing', async () => {
    const it = world();
    it.lww.write({ key: 'a', value: 'v' });
    it.lww.write({ key: 'b', tombstone: true });
    it.lww.prune('b');
    it.dataStore.faults.answersLost = 2;
    await it.time.run(it.store.hardFlush(60_000));
    assert.equal(it.dataStore.faults.answersLost, 0);
    it.assertPersisted();
  });

  test('there is no room for a change larger than everything that may be staged', () => {
    assert.equal(world().store.admits(2 ** 50), false);
  });
}
