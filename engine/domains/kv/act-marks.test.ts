import assert from 'node:assert/strict';
import test from 'node:test';
import { ActMarks } from './act-marks.ts';

const name = (text: string): Uint8Array => new TextEncoder().encode(text);

function marks(): ActMarks {
  return new ActMarks(new SharedArrayBuffer(ActMarks.BYTES));
}

test('a read is not whole when an act on its map was under way before it, or began while it was read', () => {
  const acts = marks();
  const before = acts.quiet([name('db0')]);
  assert.ok(before !== undefined);
  const act = acts.begin([name('db0'), name('db1')]);
  assert.equal(acts.isQuietSince(before), false);
  assert.equal(acts.quiet([name('db0')]), undefined);
  assert.equal(acts.quiet([name('other'), name('db1')]), undefined);
  acts.end(act);
  assert.equal(acts.isQuietSince(before), false);
  const behind = acts.quiet([name('db0')]);
  assert.ok(behind !== undefined && acts.isQuietSince(behind));
});

test('acts on other maps disturb no read', () => {
  const acts = marks();
  const place = acts.quiet([name('db0')]);
  acts.begin([name('db1')]);
  assert.ok(place !== undefined && acts.isQuietSince(place));
});

test('an act that names a map twice counts once', () => {
  const acts = marks();
  acts.end(acts.begin([name('db0'), name('db0')]));
  assert.ok(acts.quiet([name('db0')]) !== undefined);
});
