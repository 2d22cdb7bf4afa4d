import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecordBatch } from './merge-batch.ts';
import { mergeStore } from './merge-stores.ts';

test('both stores keep and refuse the same records', () => {
  const counts = (['record-store', 'map'] as const).map((name) => {
    const batch = new RecordBatch(500);
    const store = mergeStore(name);
    const applied: number[] = [];
    for (let round = 0; round < 20; round++) {
      batch.fill();
      applied.push(store.merge(batch, 1_700_000_000_000));
    }
    return { applied, records: store.records };
  });
  assert.deepEqual(counts[0], counts[1]);
  const [{ applied, records } = { applied: [], records: 0 }] = counts;
  assert.equal(records, 500);
  const sum = applied.reduce((total, one) => total + one, 0);
  assert.ok(sum > 0.85 * 20 * 256 && sum < 20 * 256, `${sum} applied: most, but not all`);
});
