import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonDisagree } from './merge.bench.ts';

test('a run of MERGE is void when the two stores have not kept and refused as many of the merges they share', () => {
  const report = { comparedApplied: 900, comparedRecords: 500 };
  assert.equal(reasonDisagree(report, { ...report }), undefined);
  assert.match(String(reasonDisagree(report, { ...report, comparedApplied: 899 })), /^void: .* 900 and has 500 .* the map 899/);
  assert.match(String(reasonDisagree(report, { ...report, comparedRecords: 501 })), /^void: .*the map 900 and 501$/);
  assert.match(String(reasonDisagree({ ...report, comparedApplied: 0 }, { ...report, comparedApplied: 0 })), /^void/);
});
