import assert from 'node:assert/strict';
import test from 'node:test';
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
