/**
 * The tombstone horizon: one prune watermark for the server. Tombstones below it are forgotten, and whatever could bring
 * back what they stood for is refused. (Its persistence is tested where it is stored; resets of clients at the gateway.)
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errorNumber } from '../../protocol/errors.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from '../../storage/record.ts';
import { EngineUnderTest, utf8 } from '../testing/scanned-ops.ts';

const MAP = 'm';
const STALE = errorNumber('STALE_OPERATION');
const DAY_MS = 86_400_000;
const HORIZON_MS = 30 * DAY_MS;

class Node {
  nowMs = 1000 * DAY_MS;
  readonly engine = new EngineUnderTest({ nowMs: () => this.nowMs });

  apply(op: object): Map<number, number> {
    return this.engine.apply([{ mapName: MAP, ...op }], this.nowMs);
  }

  put(key: string, millis: number, value: unknown = 1, ttlMs?: number): Map<number, number> {
    const record = { value, timestamp: stamp(millis), ...(ttlMs === undefined ? {} : { ttlMs }) };
    return this.apply({ key, opType: 'PUT', record });
  }

  remove(key: string, millis: number): Map<number, number> {
    return this.apply({ key, opType: 'REMOVE', record: { value: null, timestamp: stamp(millis) } });
  }

  add(key: string, millis: number, ttlMs?: number): Map<number, number> {
    const orRecord = { value: millis, timestamp: stamp(millis), tag: tag(millis), ...(ttlMs === undefined ? {} : { ttlMs }) };
    return this.apply({ key, opType: 'OR_ADD', orRecord });
  }

  removeTag(key: string, millis: number): Map<number, number> {
    return this.apply({ key, opType: 'OR_REMOVE', orTag: tag(millis) });
  }

  push(key: string, tags: readonly number[], tombstones: readonly number[]): void {
    const records = tags.map((millis) => ({ tag: tag(millis), value: millis, ...stamp(millis) }));
    const entries = [{ key, records }];
    const frame = { map: utf8(MAP), entries, tombstones: tombstones.map(tag), gateway: 0, session: 7, writerListens: false };
    this.engine.sync.orPush(frame, this.nowMs);
  }

  /** Raises the watermark and prunes, after `days`. */
  pass(days: number): void {
    this.nowMs += days * DAY_MS;
    this.engine.expiry.run(this.nowMs);
    this.engine.watermarkMs = this.nowMs - HORIZON_MS;
    for (const map of this.engine.maps.maps())
      for (const store of map.stores())
        for (let run = 0; run < 2; run++) store.pruneTombstones(this.engine.watermarkMs, 1000, this.nowMs);
  }

  /** `key tag?`, a removed one with a minus in front. */
  records(kind: RecordKind): string[] {
    const store = this.engine.maps.find(utf8(MAP))?.existing(kind);
    const image = new RecordImage();
    const found: string[] = [];
    const cursor = store?.cursor();
    for (let ref = cursor?.next() ?? 0; ref !== 0; ref = cursor?.next() ?? 0) {
      store?.read(ref, image);
      const text = new TextDecoder().decode(image.source.subarray(image.keyStart, image.nodeStart));
      found.push(`${image.tombstone ? '-' : ''}${text}`);
    }
    return found.sort();
  }
}

function stamp(millis: number): { millis: number; counter: number; nodeId: string } {
  return { millis, counter: 0, nodeId: 'n' };
}

function tag(millis: number): string {
  return `${millis}:0:n`;
}

describe('last writer wins', () => {
  test('a tombstone is kept for the horizon; then neither the write nor the removal before it comes back', () => {
    const node = new Node();
    const writtenMs = node.nowMs;
    node.put('k', writtenMs);
    node.remove('k', writtenMs + 1);
    node.pass(29);
    assert.deepEqual(node.records(KIND_LWW), ['-k']);
    assert.deepEqual([...node.put('k', writtenMs)], []); // handled: it loses
    node.pass(2);
    assert.deepEqual(node.records(KIND_LWW), []);
    assert.deepEqual([...node.put('k', writtenMs)], [[0, STALE]]);
    assert.deepEqual([...node.remove('k', writtenMs + 1)], [[0, STALE]]);
    assert.deepEqual(node.engine.staleKeys, ['k', 'k']); // kept as dead letters
    assert.deepEqual(node.records(KIND_LWW), []);
    assert.deepEqual([...node.put('k', node.nowMs)], []);
    assert.deepEqual(node.records(KIND_LWW), ['k']);
  });

  test('a live record is never forgotten, however old, and an old write of its key is merged', () => {
    const node = new Node();
    node.put('k', node.nowMs);
    node.pass(400);
    assert.deepEqual(node.records(KIND_LWW), ['k']);
    assert.deepEqual([...node.put('k', node.nowMs - 390 * DAY_MS, 'newer')], []);
    assert.deepEqual(node.engine.staleKeys, []);
  });

  test('the removal of an expired record is kept for the horizon from the moment of expiry', () => {
    const node = new Node();
    const writtenMs = node.nowMs;
    node.put('k', writtenMs, 1, 10 * DAY_MS);
    node.pass(11);
    assert.deepEqual(node.records(KIND_LWW), ['-k']);
    node.pass(28);
    assert.deepEqual(node.records(KIND_LWW), ['-k']);
    node.pass(2);
    assert.deepEqual(node.records(KIND_LWW), []);
    assert.deepEqual([...node.put('k', writtenMs, 1, 10 * DAY_MS)], [[0, STALE]]);
  });
});

describe('OR-Map', () => {
  test('the removal of an old tag is kept for the horizon from when it came, not from when the tag was added', () => {
    const node = new Node();
    const oldMs = node.nowMs;
    for (const millis of [oldMs, oldMs + 1, oldMs + 2]) node.add('k', millis);
    node.pass(100);
    node.removeTag('k', oldMs);
    node.push('k', [], [oldMs + 1]);
    node.pass(29);
    const live = `k${tag(oldMs + 2)}`;
    assert.deepEqual(node.records(KIND_OR), [`-k${tag(oldMs)}`, `-k${tag(oldMs + 1)}`, live]);
    node.pass(2);
    assert.deepEqual(node.records(KIND_OR), [live]);
    assert.deepEqual([...node.add('k', oldMs)], [[0, STALE]]);
    assert.deepEqual([...node.add('k', oldMs + 2)], []); // there, as it was
    assert.deepEqual(node.engine.staleKeys, ['k']);
  });

  test('a tag of a clock far ahead is not forgotten before its add would be refused', () => {
    const node = new Node();
    const aheadMs = node.nowMs + 50 * DAY_MS;
    node.removeTag('k', aheadMs);
    node.pass(60);
    assert.deepEqual([...node.add('k', aheadMs)], []);
    assert.deepEqual(node.records(KIND_OR), [`-k${tag(aheadMs)}`]);
    node.pass(25);
    assert.deepEqual(node.records(KIND_OR), []);
    assert.deepEqual([...node.add('k', aheadMs)], [[0, STALE]]);
  });

  test('the removal of an expired tag is forgotten like any other, and its add stays away', () => {
    const node = new Node();
    const writtenMs = node.nowMs;
    node.add('k', writtenMs, DAY_MS);
    node.pass(2);
    assert.deepEqual(node.records(KIND_OR), [`-k${tag(writtenMs)}`]);
    assert.deepEqual([...node.add('k', writtenMs, DAY_MS)], []);
    node.pass(40);
    assert.deepEqual([...node.add('k', writtenMs, DAY_MS)], [[0, STALE]]);
    assert.deepEqual(node.records(KIND_OR), []);
  });

  test('a tag that was removed before its add came is a record from then on, whatever is forgotten of the push', () => {
    const node = new Node();
    const [pushedMs, addedMs] = [node.nowMs - 2, node.nowMs - 1];
    node.push('elsewhere', [], [pushedMs, addedMs]);
    assert.deepEqual(node.records(KIND_OR), []); // the push does not say under which keys
    node.push('k', [pushedMs], []);
    node.add('l', addedMs);
    assert.deepEqual(node.records(KIND_OR), [`-k${tag(pushedMs)}`, `-l${tag(addedMs)}`]);
  });
});
