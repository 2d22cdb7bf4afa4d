import assert from 'node:assert/strict';
import test from 'node:test';
import { encode } from '../../protocol/codec.ts';
import { KIND_LWW, KIND_OR } from '../../storage/record.ts';
import { utf8 } from '../testing/scanned-ops.ts';
import { parsePush, parseSyncQuestion } from './sync-requests.ts';

test('a question is read as it was written', () => {
  const map = utf8('tags');
  assert.deepEqual(parseSyncQuestion(encode({ map, kind: KIND_OR, prefix: 'a0', keys: ['k', 'l'], scope: 7 })), {
    map,
    kind: KIND_OR,
    prefix: 'a0',
    keys: ['k', 'l'],
    scope: 7,
  });
  assert.deepEqual(parseSyncQuestion(encode({ map, keys: ['k', 1, null] })), {
    map,
    kind: KIND_LWW,
    prefix: '',
    keys: ['k'],
    scope: 0,
  });
});

test('a push keeps whole records and leaves out what has a wrong type', () => {
  const record = { tag: '1:0:n', value: { __proto__x: 1 }, millis: 1, counter: 0, nodeId: 'n' };
  const wrong = [null, 5, { ...record, tag: '' }, { ...record, tag: 1 }, { ...record, millis: '1' }, { ...record, nodeId: null }];
  const body = encode({
    map: utf8('tags'),
    entries: [{ key: 'k', records: [record, ...wrong, { ...record, ttlMs: 5 }] }, 'none', { key: 7 }],
    tombstones: ['a', 2, 'b'],
    writerListens: true,
  });
  const push = parsePush(body, 2, 99);
  assert.deepEqual(
    push.entries.map(({ key, records }) => [key, records.map(({ tag, ttlMs }) => [tag, ttlMs])]),
    [
      [
        'k',
        [
          ['1:0:n', undefined],
          ['1:0:n', 5],
        ],
      ],
      ['', []],
      ['', []],
    ],
  );
  assert.deepEqual([push.tombstones, push.gateway, push.session, push.writerListens], [['a', 'b'], 2, 99, true]);
});

test('names of a value that objects inherit elsewhere stay data', () => {
  const value = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 2}');
  const body = encode({
    map: utf8('m'),
    entries: [{ key: 'k', records: [{ tag: 't', value, millis: 1, counter: 0, nodeId: 'n' }] }],
  });
  const read = parsePush(body, 0, 1).entries[0]?.records[0]?.value;
  assert.deepEqual(JSON.parse(JSON.stringify(read)), value);
  assert.equal(Reflect.get({}, 'polluted'), undefined);
});
