import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { KIND_LWW, type RecordImage, type RecordKind } from './record.ts';
import type { StagedSource } from './map-data-store.ts';
import { Staging } from './staging.ts';
import { fillImage, recordOf } from './stored-record.ts';

/** Records named by number; each costs what `costs` says, 10 by default. */
class NumberedSource implements StagedSource {
  readonly kind: RecordKind = KIND_LWW;
  readonly map = new TextEncoder().encode('numbers');
  readonly costs = new Map<number, number>();
  readonly staged = new Map<number, number>();

  read(ref: number, into: RecordImage): void {
    fillImage(recordOf({ key: `${ref}`, value: 'v' }), into);
  }

  stagedAt(ref: number): number {
    return this.staged.get(ref) ?? 0;
  }

  setStagedAt(ref: number, position: number): void {
    this.staged.set(ref, position);
  }

  costBytes(ref: number): number {
    return this.costs.get(ref) ?? 10;
  }
}

const ALL = Number.POSITIVE_INFINITY;

/** Keys of the flight, in its order. */
function flightKeys(staging: Staging, records: number): number[] {
  return Array.from({ length: records }, (_, index) => Number(new TextDecoder().decode(staging.copy(index)?.key)));
}

function finish(staging: Staging, records: number): void {
  for (let index = 0; index < records; index++) staging.done(index);
  staging.land();
}

describe('Staging', () => {
  test('keeps order, references and bytes when it outgrows its arrays', () => {
    const staging = new Staging();
    const source = new NumberedSource();
    for (let ref = 1; ref <= 5000; ref++) staging.changed(source, ref, ref);
    for (let ref = 3; ref <= 5000; ref += 3) assert.equal(staging.drop(source, ref), 10);
    assert.equal(staging.records, 3334);
    assert.equal(staging.bytes, 33_340);
    const records = staging.take(10_000, ALL, ALL);
    const expected = Array.from({ length: 5000 }, (_, index) => index + 1).filter((ref) => ref % 3 !== 0);
    assert.deepEqual(flightKeys(staging, records), expected);
    finish(staging, records);
    assert.equal(staging.records, 0);
    assert.equal(staging.bytes, 0);
    for (const position of source.staged.values()) assert.equal(position, 0);
  });

  test('uses slots again: many rounds need no more slots than one', () => {
    const staging = new Staging();
    const source = new NumberedSource();
    for (let round = 0; round < 50; round++) {
      for (let ref = 1; ref <= 100; ref++) staging.changed(source, ref, round);
      assert.ok(Math.max(...source.staged.values()) <= 100);
      finish(staging, staging.take(1000, ALL, ALL));
    }
    assert.equal(staging.records, 0);
  });

  test('a failed flight returns to the front in its order, before what was staged meanwhile', () => {
    const staging = new Staging();
    const source = new NumberedSource();
    for (const ref of [1, 2, 3, 4, 5]) staging.changed(source, ref, ref);
    const records = staging.take(4, ALL, ALL);
    staging.changed(source, 6, 6);
    staging.changed(source, 2, 7); // changed in flight
    staging.done(0);
    assert.equal(staging.oldestSinceMs, 2);
    staging.land();
    assert.equal(records, 4);
    assert.equal(staging.oldestSinceMs, 2);
    assert.deepEqual(flightKeys(staging, staging.take(10, ALL, ALL)), [2, 3, 4, 5, 6]);
  });

  test('a change of what waits costs no look at its slot; in flight it is staged again, with its new cost', () => {
    const staging = new Staging();
    const source = new NumberedSource();
    staging.changed(source, 1, 0);
    const { sequence } = staging;
    source.costs.set(1, 30); // a record whose cost changes moves, which would be told
    staging.changed(source, 1, 1);
    assert.deepEqual([staging.coalesced, staging.sequence, staging.bytes], [1, sequence, 10]);
    staging.moved(source, 1);
    assert.equal(staging.bytes, 30);
    const records = staging.take(10, ALL, ALL);
    source.costs.set(1, 50);
    staging.changed(source, 1, 2);
    assert.deepEqual([staging.coalesced, staging.sequence, staging.bytes], [1, sequence + 1, 50]);
    staging.changed(source, 1, 3);
    assert.equal(staging.coalesced, 2);
    finish(staging, records);
    assert.deepEqual([staging.records, staging.bytes, staging.oldestSinceMs], [1, 50, 2]);
    finish(staging, staging.take(10, ALL, ALL));
    assert.deepEqual([staging.records, staging.bytes, source.stagedAt(1)], [0, 0, 0]);
  });

  test('a flight that failed leaves its records waiting: the next change of one coalesces', () => {
    const staging = new Staging();
    const source = new NumberedSource();
    staging.changed(source, 1, 0);
    staging.take(10, ALL, ALL);
    staging.land();
    staging.changed(source, 1, 1);
    assert.deepEqual([staging.coalesced, staging.records, staging.oldestSinceMs], [1, 1, 0]);
  });

  test('takes up to the bytes asked for, but at least one, and nothing staged after the sequence asked for', () => {
    const staging = new Staging();
    const source = new NumberedSource();
    source.costs.set(1, 100);
    for (const ref of [1, 2, 3, 4]) staging.changed(source, ref, 0);
    const large = staging.take(10, 50, ALL);
    assert.deepEqual(flightKeys(staging, large), [1]);
    finish(staging, large);
    const small = staging.take(10, 25, ALL);
    assert.deepEqual(flightKeys(staging, small), [2, 3]);
    finish(staging, small);
    assert.equal(staging.take(10, ALL, 3), 0);
    staging.land();
    assert.equal(staging.take(10, ALL, 4), 1);
  });

  test('a record dropped in flight is neither read nor staged again, and its reference may be used anew', () => {
    const staging = new Staging();
    const source = new NumberedSource();
    for (const ref of [1, 2]) staging.changed(source, ref, 0);
    staging.take(10, ALL, ALL);
    assert.equal(staging.drop(source, 1), 10);
    assert.equal(staging.copy(0), undefined);
    staging.changed(source, 1, 5); // another record at the same place
    staging.land();
    const records = staging.take(10, ALL, ALL);
    assert.deepEqual(flightKeys(staging, records), [2, 1]);
    finish(staging, records);
    assert.equal(staging.drop(source, 1), -1);
  });
});
