/**
 * The guards of a DataStore, kind by kind: which of two writes of one record stays, and which removal takes effect.
 *
 * Clocks of OR records that met a second write are not compared: the contract leaves open which of the two the row
 * keeps, and nothing reads it but the guard of a removal.
 */
import assert from 'node:assert/strict';
import { partitionOf } from '../partition/hash.ts';
import { DEADLINE_MS, loadAll, prune, put, sorted, type StoreTest } from './data-store-probe.ts';
import { KIND_COUNTER, KIND_LWW, KIND_OR } from './record.ts';
import { imageOf, type RecordFields, recordOf, type StoredRecord } from './stored-record.ts';

/** Each pair: `loser` never replaces `winner`, whichever comes first and whether or not they share a batch. */
const LWW_PAIRS: readonly [title: string, loser: RecordFields, winner: RecordFields][] = [
  [
    'greater millis',
    { key: 'k', value: 'z', millis: 1, counter: 9, node: 'z' },
    { key: 'k', value: 'a', millis: 2, counter: 0, node: 'a' },
  ],
  ['greater counter', { key: 'k', value: 'z', counter: 1, node: 'z' }, { key: 'k', value: 'a', counter: 2, node: 'a' }],
  ['greater node', { key: 'k', value: 'z', node: 'a' }, { key: 'k', value: 'a', node: 'b' }],
  ['longer node', { key: 'k', value: 'z', node: 'a' }, { key: 'k', value: 'a', node: 'ab' }],
  ['node by bytes, not by locale', { key: 'k', value: 'z', node: 'B' }, { key: 'k', value: 'a', node: 'a' }],
  ['node by bytes, not by UTF-16', { key: 'k', value: 'z', node: '\ufffd' }, { key: 'k', value: 'a', node: '\u{10000}' }],
  ['counter as a number', { key: 'k', value: 'z', counter: 9 }, { key: 'k', value: 'a', counter: 10 }],
  ['larger value at an equal clock', { key: 'k', value: 'a' }, { key: 'k', value: 'b' }],
  ['longer value at an equal clock', { key: 'k', value: 'a' }, { key: 'k', value: 'aa' }],
  ['larger value byte, unsigned', { key: 'k', value: Uint8Array.of(0x7f, 0xff) }, { key: 'k', value: Uint8Array.of(0x80) }],
  ['newer tombstone', { key: 'k', value: 'z', millis: 1 }, { key: 'k', millis: 2, tombstone: true }],
  ['write after a tombstone', { key: 'k', millis: 1, tombstone: true }, { key: 'k', value: 'a', millis: 2 }],
  ['value before a tombstone of the same clock', { key: 'k', tombstone: true }, { key: 'k', value: 'a' }],
  ['a second of 2^53', { key: 'k', value: 'z', millis: 2 ** 53 - 2 }, { key: 'k', value: 'a', millis: 2 ** 53 - 1 }],
];

/** Sums that come one after the other, or in one batch, and what of them stays. */
export function counterGuard(storeTest: StoreTest): void {
  const sums = (node: string, millis: number, ttlMs: number, tag = 'device'): StoredRecord =>
    recordOf({ kind: KIND_COUNTER, map: '', key: 'hits', node, tag, millis, ttlMs });
  const writes = [sums('n', 5.5, 1), sums('n', 3, 9), sums('n', 4, 2), sums('m', 0, 0.25), sums('n', 5.5, 9)];
  const stored = sorted([sums('n', 5.5, 9), sums('m', 0, 0.25)]);

  storeTest('counters: the sums of a node only grow, in any order', async (store) => {
    for (const write of writes) await put(store, write);
    assert.deepEqual(await loadAll(store), stored);
    for (const write of [...writes].reverse()) await put(store, write);
    assert.deepEqual(await loadAll(store), stored);
  });

  storeTest('counters: a node may stand in a batch again and again', async (store) => {
    await put(store, ...writes, recordOf({ key: 'hits', value: 'v' }), ...writes);
    assert.deepEqual(await loadAll(store), sorted([...stored, recordOf({ key: 'hits', value: 'v' })]));
  });

  storeTest('counters: who owns a node is named once', async (store) => {
    await put(store, sums('n', 1, 0, ''));
    assert.deepEqual(await loadAll(store), [sums('n', 1, 0, '')]);
    await put(store, sums('n', 2, 0, 'first'), sums('n', 3, 0, 'first'));
    await put(store, sums('n', 4, 0, 'second'));
    assert.deepEqual(await loadAll(store), [sums('n', 4, 0, 'first')]);
  });

  storeTest('counters: names and nodes are any bytes, and counters of other partitions are not loaded', async (store) => {
    const odd = recordOf({
      kind: KIND_COUNTER,
      map: '',
      key: Uint8Array.of(0, 0xff),
      node: Uint8Array.of(1, 0),
      millis: 1,
      ttlMs: 0,
    });
    await put(store, odd, sums('n', 1, 0));
    assert.deepEqual(await loadAll(store), sorted([odd, sums('n', 1, 0)]));
    assert.deepEqual(await loadAll(store, [partitionOf(odd.keyHash)]), [odd]);
  });
}

export function lwwGuard(storeTest: StoreTest): void {
  for (const [title, loserFields, winnerFields] of LWW_PAIRS) {
    const loser = recordOf(loserFields);
    const winner = recordOf(winnerFields);

    storeTest(`LWW: ${title} wins in either order`, async (store) => {
      const other = { ...winner, map: recordOf({ map: 'other', key: 'k' }).map };
      await put(store, loser);
      await put(store, winner);
      await put(store, other);
      await put(store, { ...loser, map: other.map });
      assert.deepEqual(await loadAll(store), sorted([winner, other]));
    });

    storeTest(`LWW: ${title} wins inside one batch`, async (store) => {
      const other = { ...winner, map: recordOf({ map: 'other', key: 'k' }).map };
      await put(store, loser, winner, other, { ...loser, map: other.map });
      assert.deepEqual(await loadAll(store), sorted([winner, other]));
    });
  }

  storeTest('LWW: a newer write brings its own ttl', async (store) => {
    await put(store, recordOf({ key: 'k', value: 'a', millis: 1, ttlMs: 100 }));
    const second = recordOf({ key: 'k', value: 'a', millis: 2 });
    await put(store, second);
    assert.deepEqual(await loadAll(store), [second]);
  });
}

export function orGuard(storeTest: StoreTest): void {
  const added = recordOf({ kind: KIND_OR, key: 'k', tag: 't', value: 'v', millis: 5, ttlMs: 70 });
  const removed = recordOf({ kind: KIND_OR, key: 'k', tag: 't', millis: 5, tombstone: true });

  storeTest('OR: a value never changes, whatever its clock', async (store) => {
    await put(store, added);
    await put(store, recordOf({ kind: KIND_OR, key: 'k', tag: 't', value: 'zz', millis: 9 }));
    await put(store, recordOf({ kind: KIND_OR, key: 'k', tag: 't', value: 'a', millis: 1 }));
    const [row] = await loadAll(store);
    assert.ok(row !== undefined);
    assert.deepEqual(row.value, added.value);
    assert.equal(row.tombstone, false);
  });

  storeTest('OR: a tombstone stays, whether it comes before or after its add', async (store) => {
    await put(store, added);
    await put(store, removed);
    await put(store, added);
    const other = recordOf({ kind: KIND_OR, key: 'k', tag: 'u', value: 'v', millis: 5 });
    await put(store, { ...removed, tag: other.tag });
    await put(store, other);
    const rows = await loadAll(store);
    assert.deepEqual(
      rows.map((row) => row.tombstone),
      [true, true],
    );
  });

  storeTest('OR: an older tombstone holds against a newer add', async (store) => {
    await put(store, recordOf({ kind: KIND_OR, key: 'k', tag: 't', value: 'v', millis: 9 }));
    await put(store, removed);
    const [row] = await loadAll(store);
    assert.equal(row?.tombstone, true);
  });

  storeTest('OR: the same tag twice in one batch is one row, a tombstone when either is', async (store) => {
    await put(store, added, removed, { ...removed, tag: Uint8Array.of(7) }, { ...added, tag: Uint8Array.of(7) });
    const rows = await loadAll(store);
    assert.deepEqual(
      rows.map((row) => row.tombstone),
      [true, true],
    );
  });

  storeTest('OR: a removed tag leaves the other tags of its key alone', async (store) => {
    const kept = recordOf({ kind: KIND_OR, key: 'k', tag: 't2', value: 'w', millis: 6 });
    await put(store, added, kept);
    await put(store, removed);
    const live = (await loadAll(store)).filter((row) => !row.tombstone);
    assert.deepEqual(live, [kept]);
  });
}

export function removals(storeTest: StoreTest): void {
  for (const kind of [KIND_LWW, KIND_OR] as const) {
    const label = kind === KIND_LWW ? 'LWW' : 'OR';
    const tag = kind === KIND_OR ? 't' : '';
    const at = (fields: Partial<RecordFields>): StoredRecord => recordOf({ kind, key: 'k', tag, millis: 5, ...fields });

    storeTest(`prune, ${label}: a tombstone of the same or an older clock goes`, async (store) => {
      await put(store, at({ tombstone: true }), at({ key: 'older', tombstone: true, millis: 4 }));
      await prune(store, at({ tombstone: true }), at({ key: 'older', tombstone: true }));
      assert.deepEqual(await loadAll(store), []);
    });

    storeTest(`prune, ${label}: a tombstone with a newer clock stays`, async (store) => {
      const rows = [
        at({ key: 'millis', tombstone: true, millis: 6 }),
        at({ key: 'counter', tombstone: true, counter: 1 }),
        at({ key: 'node', tombstone: true, node: 'z' }),
      ];
      await put(store, ...rows);
      await prune(store, ...rows.map((row) => ({ ...at({ tombstone: true }), key: row.key, keyHash: row.keyHash })));
      assert.deepEqual(await loadAll(store), sorted(rows));
    });

    storeTest(`prune, ${label}: a live record stays, older or newer`, async (store) => {
      const rows = [at({ key: 'older', value: 'v', millis: 1 }), at({ key: 'newer', value: 'v', millis: 9 })];
      await put(store, ...rows);
      await prune(store, ...rows.map((row) => ({ ...at({ tombstone: true }), key: row.key, keyHash: row.keyHash })));
      assert.deepEqual(await loadAll(store), sorted(rows));
    });

    storeTest(`prune, ${label}: only the identity named goes, and what is not there is no error`, async (store) => {
      const dead = at({ tombstone: true });
      const others = [at({ tombstone: true, map: 'other' }), at({ tombstone: true, key: 'k2' })];
      if (kind === KIND_OR) others.push(at({ tombstone: true, tag: 't2' }));
      await put(store, dead, ...others);
      await prune(store, dead, at({ key: 'absent', tombstone: true }));
      assert.deepEqual(await loadAll(store), sorted(others));
    });

    storeTest(`prune, ${label}: a put in the same batch before it comes first`, async (store) => {
      await put(store, at({ value: 'v', millis: 1 }));
      const batch = store.batch();
      const dead = at({ tombstone: true });
      batch.put(kind, dead.map, imageOf(dead));
      batch.prune(kind, dead.map, imageOf(dead));
      await batch.commit(DEADLINE_MS);
      assert.deepEqual(await loadAll(store), []);
    });

    storeTest(`prune, ${label}: a pruned record can be written again`, async (store) => {
      const dead = at({ tombstone: true });
      const again = at({ value: 'again', millis: 2 });
      await put(store, dead);
      await prune(store, dead);
      await put(store, again);
      assert.deepEqual(await loadAll(store), [again]);
    });
  }
}
