/**
 * Random lives of a staging area: changes, moves, removals, flushes that succeed, fail, lose their answer or meet
 * poison, all interleaved with commits that are held in flight. Whatever happened, a hard flush ends with the data
 * store equal to memory, and the flushed watermark never passes what a crash would lose.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { GridError } from '../protocol/errors.ts';
import { costOf, World } from './map-data-store.conformance.ts';
import { identityOf, type StoredRecord } from './stored-record.ts';
import { turn } from './virtual-time.ts';
import { WriteBehind } from './write-behind.ts';

const KEYS = 6;
const STAGED_BYTES_MAX = 1500;
const POISON = 'poison';

type Step =
  | { type: 'put'; key: number; length: number; moves: boolean; poison: boolean }
  | { type: 'remove'; key: number; moves: boolean }
  | { type: 'prune'; key: number }
  | { type: 'tick'; ms: number }
  | { type: 'release'; outcome: 'ok' | 'away' | 'answerLost' | 'unburied' };

const key = fc.nat(KEYS - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('put' as const),
      key,
      length: fc.integer({ min: 0, max: 150 }),
      moves: fc.boolean(),
      poison: fc.nat(12).map((draw) => draw === 0),
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('remove' as const), key, moves: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('prune' as const), key }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('tick' as const), ms: fc.integer({ min: 0, max: 300 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('release' as const),
      outcome: fc.constantFrom('ok' as const, 'ok' as const, 'away' as const, 'answerLost' as const, 'unburied' as const),
    }),
  },
);

/** A world whose commits wait for `release`, with a memory that merges like the record store. */
class Life {
  readonly world = new World(
    (dataStore, time) =>
      new WriteBehind(dataStore, time, {
        flushRecordsMax: 4,
        sliceRecords: 2,
        stagedBytesMax: STAGED_BYTES_MAX,
        flushDelayMs: 20,
      }),
  );
  #millis = 100;
  readonly #ledger: Noted[] = [];
  readonly #gate = this.world.holdCommits();

  constructor() {
    this.world.dataStore.faults.poison = isPoison;
  }

  async apply(step: Step): Promise<void> {
    if (step.type === 'tick') return this.world.tick(step.ms);
    if (step.type === 'release') return this.#release(step.outcome);
    if (step.type === 'put') return this.#put(step.key, step.length, step.moves, step.poison);
    if (step.type === 'remove') return this.#remove(step.key, step.moves);
    return this.#prune(step.key);
  }

  /** No more faults; flushes everything. */
  async settle(): Promise<void> {
    const { world } = this;
    await this.#gate.open();
    await world.time.run(world.store.hardFlush(600_000));
  }

  /** Even keys are LWW, odd ones OR: an OR record is added once and removed once. */
  #put(key: number, length: number, moves: boolean, poison: boolean): void {
    const { lww, or, store } = this.world;
    if (!store.admits(110 + length)) return;
    const name = `k${key}`;
    const value = poison ? POISON : 'v'.repeat(length);
    // After a removal that was pruned, a write may well be older than what was there.
    const counter = this.#ledger.length;
    if (key % 2 === 0) lww.write({ key: name, value, millis: this.#nextMillis(lww.get(name)), counter }, moves);
    else if (or.get(name, 't') !== undefined) return;
    else or.write({ key: name, tag: 't', value, millis: this.#nextMillis(undefined), counter });
    this.#note(key, name);
  }

  #remove(key: number, moves: boolean): void {
    const { lww, or, store } = this.world;
    if (!store.admits(110)) return;
    const name = `k${key}`;
    const counter = this.#ledger.length;
    if (key % 2 === 0) lww.write({ key: name, tombstone: true, millis: this.#nextMillis(lww.get(name)), counter }, moves);
    else if (or.get(name, 't')?.tombstone === true) return;
    else or.write({ key: name, tag: 't', tombstone: true, millis: or.get(name, 't')?.millis ?? 1, counter }, moves);
    this.#note(key, name);
  }

  /** What the log would note beside the frame of this change. The counter of each version is its place in the ledger. */
  #note(key: number, name: string): void {
    const record = key % 2 === 0 ? this.world.lww.get(name) : this.world.or.get(name, 't');
    assert.ok(record !== undefined);
    this.#ledger.push({ record, sequence: this.world.store.stagedSequence, pruned: false });
  }

  /** Of the changes that the watermark has passed, what a boot from the data store alone would not know, or bring back. */
  forgotten(): string[] {
    const { rows, letters } = this.world.dataStore;
    const passed = this.#ledger.filter(({ sequence }) => sequence <= this.world.store.flushedSequence);
    return passed.flatMap(({ record, pruned }) => {
      const name = identityOf(record);
      const applied = letters.filter((letter) => letter.applied && identityOf(letter.record) === name);
      const stored = [rows.get(name), ...applied.map((letter) => letter.record)].filter((found) => found !== undefined);
      const newest = stored.reduce((most, found) => Math.max(most, found.counter), -1);
      const isKnown = newest >= record.counter || (pruned && stored.length === 0);
      return isKnown ? [] : [`${name} ${record.counter} of ${newest}`];
    });
  }

  #prune(key: number): void {
    const { lww, or, store } = this.world;
    if (!store.admits(REMOVAL_BYTES)) return; // for want of room a removal is left to the next boot
    const name = `k${key}`;
    const record = key % 2 === 0 ? lww.get(name) : or.get(name, 't');
    if (record?.tombstone !== true) return;
    if (key % 2 === 0) lww.prune(name);
    else or.prune(name, 't');
    const noted = this.#ledger.filter((each) => identityOf(each.record) === identityOf(record));
    for (const each of noted) each.pruned = true;
  }

  #nextMillis(stored: StoredRecord | undefined): number {
    this.#millis -= 1;
    return stored === undefined ? this.#millis : stored.millis + 1;
  }

  async #release(outcome: 'ok' | 'away' | 'answerLost' | 'unburied'): Promise<void> {
    const { faults } = this.world.dataStore;
    if (this.#gate.held === 0) return;
    if (outcome === 'away') faults.commits.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
    if (outcome === 'answerLost') faults.answersLost = 1;
    if (outcome === 'unburied') faults.burials.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
    await this.#gate.release();
    for (let turns = 0; turns < 3; turns++) await turn();
    faults.commits.length = 0;
    faults.burials.length = 0;
    faults.answersLost = 0;
  }
}

interface Noted {
  readonly record: StoredRecord;
  readonly sequence: number;
  /** The record was removed for good since. */
  pruned: boolean;
}

/** More than the removal of any record here counts for. */
const REMOVAL_BYTES = 200;

function isPoison(record: StoredRecord): boolean {
  return new TextDecoder().decode(record.value) === POISON;
}

describe('a random life of a staging area', () => {
  test('ends, after a hard flush, with the data store equal to memory', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 80, size: 'max' }), async (steps) => {
        const life = new Life();
        const { world } = life;
        for (const each of steps) {
          await life.apply(each);
          assert.ok(world.store.stagedBytes <= STAGED_BYTES_MAX, `${world.store.stagedBytes} bytes staged`);
          assert.ok(world.store.stagedRecords <= 2 * KEYS + steps.length);
          assert.deepEqual(life.forgotten(), []);
        }
        await life.settle();
        assert.deepEqual(life.forgotten(), []);
        assertEqual(world);
        assert.equal(world.store.stagedRecords, 0);
        assert.equal(world.store.stagedBytes, 0);
        assert.equal(world.store.flushedSequence, world.store.stagedSequence);
        assert.equal(world.store.lagMs(world.time.nowMs()), 0);
      }),
      { numRuns: 400, includeErrorInReport: true },
    );
  });

  test('flushes the changes of one key in their order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80, size: 'max' }), async (steps) => {
        const life = new Life();
        const seen = new Map<string, number>();
        // Looks at each row of each commit that reaches the store. Without removals the clocks of a key only rise.
        life.world.dataStore.faults.poison = (record) => {
          const name = identityOf(record);
          assert.ok(record.millis >= (seen.get(name) ?? 0), name);
          seen.set(name, record.millis);
          return false;
        };
        for (const each of steps) {
          if (each.type === 'put') await life.apply({ ...each, poison: false });
          else if (each.type === 'tick' || each.type === 'release') await life.apply(each);
        }
        await life.settle();
        assertEqual(life.world);
      }),
      { numRuns: 100, includeErrorInReport: true },
    );
  });
});

/** Every record of memory is a row, or a dead letter when it is refused; and there is no other row. */
function assertEqual(world: World): void {
  const { rows, letters } = world.dataStore;
  const expected = world.expected();
  const names = new Set(expected.map(identityOf));
  for (const name of rows.keys()) assert.ok(names.has(name), `not in memory: ${name}`);
  for (const record of expected) {
    const found = isPoison(record)
      ? letters.findLast((letter) => sameVersion(letter.record, record))?.record
      : rows.get(identityOf(record));
    assert.ok(found !== undefined, `missing: ${identityOf(record)}`);
    assert.equal(found.tombstone, record.tombstone);
    if (!record.tombstone) assert.deepEqual(found, record);
    assert.ok(costOf(record) > 0);
  }
}

function sameVersion(left: StoredRecord, right: StoredRecord): boolean {
  return identityOf(left) === identityOf(right) && left.millis === right.millis;
}
