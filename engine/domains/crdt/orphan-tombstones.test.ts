import assert from 'node:assert/strict';
import test from 'node:test';
import { fnv1a } from '../../partition/hash.ts';
import { encodeText } from '../../protocol/wire-text.ts';
import { OrphanTombstones } from './orphan-tombstones.ts';

function has(orphans: OrphanTombstones, tag: string): boolean {
  const padded = encodeText(`xx${tag}yy`);
  return orphans.has(padded, 2, padded.length - 4);
}

test('a tag is found by its bytes wherever they stand, and no other tag is', () => {
  const orphans = new OrphanTombstones();
  assert.equal(has(orphans, '1:0:n'), false);
  for (const tag of ['1:0:n', '\ufeffbom', '\ud800', 'é']) orphans.add(tag, encodeText(tag));
  for (const tag of ['1:0:n', '\ufeffbom', '\ud800', 'é']) assert.equal(has(orphans, tag), true, tag);
  for (const tag of ['1:0:', '1:0:nn', 'bom', '\ufffd', 'e']) assert.equal(has(orphans, tag), false, tag);
});

test('a tag that is added again is counted once', () => {
  const orphans = new OrphanTombstones();
  orphans.add('t', encodeText('t'));
  orphans.add('t', encodeText('t'));
  assert.equal(orphans.count, 1);
});

test('memory is bounded: the oldest are forgotten first', () => {
  const orphans = new OrphanTombstones();
  for (let index = 0; index < 100_010; index++) orphans.add(`${index}`, encodeText(`${index}`));
  assert.ok(orphans.count <= 100_000);
  assert.deepEqual([has(orphans, '0'), has(orphans, '100009'), has(orphans, '50000')], [false, true, true]);
});

test('half a million tags are remembered as fast as they come, and the latest are known', () => {
  const orphans = new OrphanTombstones(); // looking for the oldest from the front each time takes minutes here
  for (let index = 0; index < 500_000; index++) orphans.add(`${index}`, encodeText(`${index}`));
  assert.equal(orphans.count, 100_000);
  assert.deepEqual([has(orphans, '399999'), has(orphans, '400000'), has(orphans, '499999')], [false, true, true]);
});

test('tags that are made to have one hash cost no more than others: the oldest of them are forgotten', () => {
  const orphans = new OrphanTombstones();
  const tags = alikeTags(400);
  for (const tag of tags) orphans.add(tag, encodeText(tag));
  assert.deepEqual(
    [has(orphans, tags[0] ?? ''), has(orphans, tags.at(-1) ?? ''), has(orphans, tags.at(-100) ?? '')],
    [false, true, true],
  );
  assert.ok(orphans.count <= 128);
  for (let index = 0; index < 100_000; index++) orphans.add(`${index}`, encodeText(`${index}`));
  assert.equal(has(orphans, tags.at(-1) ?? ''), false, 'by age they go like all others');
});

/** Texts with one FNV-1a: their ends are found by looking for the hash again. */
function alikeTags(count: number): string[] {
  const wanted = fnv1a('a');
  // Two letters before the end are undone from the wanted hash; a prefix that has the rest is looked up.
  const inverse = inverseOf(0x01000193);
  const ends = new Map<number, string>();
  for (let first = 0x21; first < 0x7f; first++) {
    for (let second = 0x21; second < 0x7f; second++) {
      for (let third = 0x21; third < 0x7f; third++) {
        let hash = wanted;
        for (const unit of [third, second, first]) hash = (Math.imul(hash, inverse) ^ unit) >>> 0;
        ends.set(hash, String.fromCharCode(first, second, third));
      }
    }
  }
  const found: string[] = [];
  for (let number = 0; found.length < count; number++) {
    const end = ends.get(fnv1a(`${number}`));
    if (end !== undefined) found.push(`${number}${end}`);
  }
  assert.ok(found.every((tag) => fnv1a(tag) === wanted));
  return found;
}

/** The number that undoes a multiplication by an odd one, mod 2^32. */
function inverseOf(odd: number): number {
  let inverse = odd;
  for (let step = 0; step < 5; step++) inverse = Math.imul(inverse, 2 - Math.imul(odd, inverse));
  return inverse;
}
