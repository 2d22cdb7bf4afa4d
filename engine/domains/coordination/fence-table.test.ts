import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FenceTable } from './fence-table.ts';

test('a token is good until a newer one of its lock is known, and a grant under an older one is none', () => {
  const fences = new FenceTable();
  assert.equal(fences.raise('a', 5), true);
  assert.deepEqual([fences.admits('a', 4), fences.admits('a', 5), fences.admits('a', 6)], [false, true, true]);
  assert.equal(fences.raise('a', 5), true, 'the same grant, told twice');
  assert.equal(fences.raise('a', 9), true);
  assert.equal(fences.raise('a', 7), false);
  assert.deepEqual([fences.admits('a', 8), fences.admits('a', 9), fences.admits('b', 1)], [false, true, true]);
});

test('a write with a token that nobody was given shuts nobody out', () => {
  const fences = new FenceTable();
  fences.raise('a', 5);
  assert.equal(fences.admits('a', 2 ** 52), true);
  assert.equal(fences.admits('a', 5), true);
});

test('what was before the floor is refused where the name is unknown', () => {
  const fences = new FenceTable(100);
  fences.raise('known', 150);
  assert.deepEqual([fences.admits('other', 100), fences.admits('other', 101), fences.admits('known', 149)], [false, true, false]);
  fences.raiseFloor(50);
  assert.equal(fences.floor, 100);
});

test('however many names there are, memory is bounded and an older token is never taken for a newer one', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(30), { maxLength: 200 }), (locks) => {
      const fences = new FenceTable(0, 8);
      const newest = new Map<string, number>();
      locks.forEach((lock, index) => {
        const token = index + 1;
        assert.equal(fences.raise(`lock ${lock}`, token), true);
        newest.set(`lock ${lock}`, token);
        assert.ok(fences.names <= 8);
        assert.equal(fences.admits(`lock ${lock}`, token), true, 'the newest grant of all');
        for (const [name, granted] of newest) assert.equal(fences.admits(name, granted - 1), false);
      });
    }),
  );
});
