import assert from 'node:assert/strict';
import test from 'node:test';
import { fnv1a } from '../../partition/hash.ts';
import type { LateParts } from '../../operation/request-handler.ts';
import { decode } from '../../protocol/codec.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import { HIDDEN, type RowView } from '../security/access.ts';
import { EngineUnderTest, utf8 } from '../testing/scanned-ops.ts';
import { ItemParts } from './item-parts.ts';
import { ScopedLeaves } from './scoped-leaves.ts';

const VALUE_CHARACTERS = 300_000;
/** Sees rows whose text begins with x. */
const VIEW: RowView = { see: (value) => (typeof value === 'string' && value.startsWith('x') ? value : HIDDEN) };

/** 30 keys of one leaf, of which every third is hidden. */
class LongLeaf {
  readonly engine = new EngineUnderTest();
  readonly keys = keysOfOneLeaf(30);
  readonly path = pathOf(this.keys[0] ?? '');
  pauses = 0;
  onPause = (): void => {};
  readonly leaves = new ScopedLeaves({
    loader: undefined,
    pause: async () => {
      this.pauses += 1;
      this.onPause();
    },
    nowMs: () => 1_000_000,
  });

  constructor(kind: RecordKind) {
    for (const [index, key] of this.keys.entries()) this.write(kind, key, (index % 3 === 0 ? 'y' : 'x').repeat(VALUE_CHARACTERS));
  }

  get seen(): string[] {
    return this.keys.filter((_, index) => index % 3 !== 0);
  }

  write(kind: RecordKind, key: string, value: string, millis = 1): void {
    const timestamp = { millis, counter: 0, nodeId: 'n' };
    const record =
      kind === KIND_LWW ? { record: { value, timestamp } } : { orRecord: { value, timestamp, tag: `${key}:${millis}` } };
    this.engine.apply([{ mapName: 'm', key, opType: kind === KIND_LWW ? 'PUT' : 'OR_ADD', ...record }]);
  }

  store(kind: RecordKind): RecordStore | undefined {
    return this.engine.maps.find(utf8('m'))?.existing(kind);
  }
}

function pathOf(key: string): string {
  return fnv1a(key).toString(16).padStart(8, '0').slice(0, 3);
}

function keysOfOneLeaf(count: number): string[] {
  const keys = ['k'];
  for (let index = 0; keys.length < count; index++) if (pathOf(`b${index}`) === pathOf('k')) keys.push(`b${index}`);
  return keys;
}

/** Keys of the items, in parts that are no longer than they may be. */
async function keysIn(parts: LateParts): Promise<string[]> {
  const keys: string[] = [];
  for await (const part of parts) {
    assert.ok(part.length < 1.5 * 1024 * 1024, `${part.length}`);
    keys.push(...keysOfPart(part));
  }
  return keys.sort();
}

/** Items stand back to back behind their number: read as a list. */
function keysOfPart(part: Uint8Array): string[] {
  const items = new DataView(part.buffer, part.byteOffset).getUint32(0, true);
  const list = new Uint8Array(part.length + 1);
  list.set([0xdd], 0);
  new DataView(list.buffer).setUint32(1, items);
  list.set(part.subarray(4), 5);
  const read: unknown = decode(list);
  assert.ok(Array.isArray(read));
  return read.map((item: { key: string }) => item.key);
}

for (const [kind, name] of [
  [KIND_LWW, 'records'],
  [KIND_OR, 'entries'],
] as const) {
  test(`the ${name} of a long leaf are those that are seen, some at a time, while the loop goes on`, async () => {
    const leaf = new LongLeaf(kind);
    const store = leaf.store(kind);
    leaf.onPause = () => {
      if (leaf.pauses === 2) leaf.write(kind, leaf.keys[1] ?? '', 'x again', 2);
    };
    assert.deepEqual([...new Set(await keysIn(leaf.leaves.leaf(store, VIEW, leaf.path, 'asker')))], leaf.seen.toSorted());
    assert.ok(leaf.pauses >= 5, `${leaf.pauses}`);
  });
}

test('the entries of keys under a long leaf are those that are seen, some at a time', async () => {
  const leaf = new LongLeaf(KIND_OR);
  const store = leaf.store(KIND_OR);
  assert.ok(store !== undefined);
  const asked = leaf.keys.slice(0, 20);
  assert.deepEqual(
    await keysIn(leaf.leaves.diff(store, VIEW, asked, 'asker')),
    leaf.seen.filter((key) => asked.includes(key)).sort(),
  );
  assert.ok(leaf.pauses >= 5, `${leaf.pauses}`);
});

test('corrections of very much are what was removed, and the rows of some keys', () => {
  const leaf = new LongLeaf(KIND_OR);
  const store = leaf.store(KIND_OR);
  assert.ok(store !== undefined);
  const out = new ItemParts();
  leaf.leaves.orKeys(out, store, VIEW, new Map(leaf.keys.map((key) => [key, new Set([`gone of ${key}`])])));
  assert.ok(out.bytes > 1024 * 1024 && out.bytes < 3 * 1024 * 1024, `${out.bytes}`);
  assert.deepEqual(out.finish().flatMap(keysOfPart).sort(), leaf.keys.toSorted());
});
