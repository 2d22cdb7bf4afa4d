import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KIND_LWW, KIND_OR } from './record.ts';
import { identityOf, imageOf, recordOf, storedRecord } from './stored-record.ts';

test('a record survives the way through an image', () => {
  const record = recordOf({
    kind: KIND_OR,
    map: 'm',
    key: 'k',
    tag: 't',
    node: 'n',
    value: 'v',
    millis: 7,
    counter: 8,
    ttlMs: 9.5,
  });
  assert.deepEqual(storedRecord(KIND_OR, record.map, imageOf(record)), record);
});

test('a copied record keeps its bytes when the source, a Buffer, is overwritten', () => {
  const record = recordOf({ key: 'k', value: 'v' });
  const image = imageOf(record);
  image.source = Buffer.from(image.source);
  const copy = storedRecord(KIND_LWW, record.map, image);
  image.source.fill(0);
  assert.deepEqual(copy, record);
});

test('records of different kind, map, key or tag have different identities, however their bytes are cut', () => {
  const records = [
    recordOf({ map: 'ab', key: 'c' }),
    recordOf({ map: 'a', key: 'bc' }),
    recordOf({ kind: KIND_OR, map: 'ab', key: 'c' }),
    recordOf({ kind: KIND_OR, map: 'a', key: 'b', tag: 'c' }),
    recordOf({ map: 'a', key: 'b', tag: 'c' }),
    recordOf({ map: 'a', key: '1 b' }),
  ];
  assert.equal(new Set(records.map(identityOf)).size, records.length);
});
