import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode } from './codec.ts';
import { MESSAGE_TYPES } from './message-types.ts';
import { parseMessage, refusalOf } from './messages.ts';
import { encodeWild, Random } from './wild-encoder.ts';

const parse = (message: unknown): unknown => parseMessage(decode(encode(message)));
const timestamp = { millis: 1_700_000_000_000, counter: 0, nodeId: 'a' };

test('integers are taken in any encoding, null is absent, unknown fields are dropped', () => {
  const message = {
    type: 'SYNC_INIT',
    mapName: 'todos',
    lastSyncTimestamp: 1_700_000_000_000,
    rootHash: 5,
    extra: { deep: true },
  };
  for (let seed = 1; seed < 30; seed++) {
    const parsed = parseMessage(decode(encodeWild(message, new Random(seed))));
    assert.deepEqual(parsed, { type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 1_700_000_000_000 });
  }
  assert.deepEqual(parse({ type: 'SYNC_INIT', mapName: 'm', lastSyncTimestamp: null }), {
    type: 'SYNC_INIT',
    mapName: 'm',
    lastSyncTimestamp: undefined,
  });
});

test('fields come flat, with and without their payload', () => {
  const bucket = { type: 'MERKLE_REQ_BUCKET', mapName: 'm', path: '3f' };
  assert.deepEqual(parse({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm', path: '3f' } }), bucket);
  assert.deepEqual(parse(bucket), bucket);
  assert.deepEqual(parse({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'm', keys: ['a', 5, 'b'] } }), {
    type: 'ORMAP_DIFF_REQUEST',
    mapName: 'm',
    keys: ['a', 'b'],
  });
});

test('a message without a field that it needs is none', () => {
  const broken = [
    { type: 'AUTH' },
    { type: 'SYNC_INIT' },
    { type: 'SYNC_INIT', mapName: 5 },
    { type: 'ORMAP_SYNC_INIT', rootHash: 1 },
    { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm' } },
    { type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'm' } },
    { type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'm', entries: {} } },
    { type: 'CLIENT_APPLY_ACK', cursor: -1 },
    { type: 'BATCH', data: 'text' },
    { type: 'SERVER_EVENT', payload: {} },
    { type: 'CLUSTER_SEARCH_REQ', payload: {} },
    { type: 'NOTHING' },
    { type: 'toString' },
    { type: 7 },
    ['AUTH'],
    null,
  ];
  for (const message of broken) assert.equal(parse(message), undefined, JSON.stringify(message));
});

test('a push keeps whole records and leaves out what no merge could use', () => {
  const whole = { tag: '1:0:a', value: { x: 1 }, timestamp };
  const records = [
    whole,
    { ...whole, tag: '' },
    { ...whole, timestamp: { ...timestamp, nodeId: 'a:b' } },
    { ...whole, timestamp: null },
  ];
  records.push(
    { ...whole, timestamp: { ...timestamp, millis: 1.5 } },
    { ...whole, timestamp: { ...timestamp, counter: 2 ** 32 } },
  );
  const more = [{ ...whole, ttlMs: 5 }, { ...whole, ttlMs: null }, { ...whole, ttlMs: -1 }, { tag: '2:0:a', timestamp }, 'text'];
  const parsed = parse({
    type: 'ORMAP_PUSH_DIFF',
    payload: {
      mapName: 'tags',
      entries: [{ key: 'k', records: [...records, ...more], tombstones: ['t', 3] }, { records: [] }, 'x', { key: 'only' }],
    },
  });
  const flat = { tag: '1:0:a', value: { x: 1 }, ...timestamp };
  assert.deepEqual(JSON.parse(JSON.stringify(parsed)), {
    type: 'ORMAP_PUSH_DIFF',
    mapName: 'tags',
    entries: [
      { key: 'k', records: [flat, { ...flat, ttlMs: 5 }, flat, { ...flat, tag: '2:0:a', value: null }], tombstones: ['t'] },
      { key: 'only', records: [], tombstones: [] },
    ],
  });
});

test('the bytes of a BATCH come in both forms', () => {
  const expected = { type: 'BATCH', data: Uint8Array.of(1, 2) };
  assert.deepEqual(parse({ type: 'BATCH', count: 1, data: Uint8Array.of(1, 2) }), expected);
  assert.deepEqual(parse({ type: 'BATCH', count: 1, data: { 0: 1, 1: 2 } }), expected);
});

test('the table of types holds the 90 of the schema and the 3 beside it, each once', () => {
  const all = Object.values(MESSAGE_TYPES).flatMap((types) => Object.keys(types));
  assert.equal(new Set(all).size, all.length);
  assert.equal(all.length, 93);
});

test('every type that a client sends is read by the scanner, parsed, or refused by name', () => {
  const incoming = Object.values(MESSAGE_TYPES).flatMap((types) =>
    Object.entries(types)
      .filter(([, way]) => way === 'in' || way === 'both')
      .map(([type]) => type),
  );
  const fields = {
    mapName: 'm',
    path: '',
    token: 't',
    cursor: 1,
    keys: [],
    entries: [],
    data: Uint8Array.of(0),
    requestId: 'r',
    queryId: 'q',
    topic: 't',
    name: 'n',
    state: { p: {}, n: {} },
    fromSequence: '0',
    subscriptionId: 's',
  };
  for (const type of incoming) {
    if (type === 'OP_BATCH' || type === 'CLIENT_OP') continue;
    assert.equal(parseMessage(decode(encode({ type, ...fields })))?.type, type);
  }
});

const refused = (message: { type: string; [field: string]: unknown }): unknown => {
  const parsed = parseMessage(decode(encode(message)));
  return parsed === undefined ? 'not parsed' : refusalOf(parsed);
};

test('what can be refused in its own response type is', () => {
  const error = (type: string): string => `${type} is not available on this server`;
  assert.deepEqual(refused({ type: 'SQL_QUERY', payload: { sql: 'SELECT 1', queryId: 'q' } }), {
    type: 'SQL_QUERY_RESP',
    payload: { queryId: 'q', columns: [], rows: [], error: error('SQL_QUERY'), code: 'FEATURE_DISABLED' },
  });
  assert.deepEqual(refused({ type: 'SEARCH_SUB', payload: { subscriptionId: 's', mapName: 'm', query: 'x' } }), {
    type: 'SEARCH_RESP',
    payload: { requestId: 's', results: [], totalCount: 0, error: error('SEARCH_SUB') },
  });
  assert.deepEqual(refused({ type: 'VECTOR_SEARCH', payload: { id: 'v' } }), {
    type: 'VECTOR_SEARCH_RESP',
    payload: { id: 'v', results: [], totalCandidates: 0, searchTimeMs: 0, error: error('VECTOR_SEARCH') },
  });
  assert.deepEqual(refused({ type: 'HYBRID_SEARCH', payload: { requestId: 'h' } }), {
    type: 'HYBRID_SEARCH_RESP',
    payload: { requestId: 'h', results: [], searchTimeMs: 0, error: error('HYBRID_SEARCH') },
  });
  assert.deepEqual(refused({ type: 'ENTRY_PROCESS', requestId: 'e', mapName: 'm', key: 'k' }), {
    type: 'ENTRY_PROCESS_RESPONSE',
    requestId: 'e',
    success: false,
    error: error('ENTRY_PROCESS'),
  });
  assert.deepEqual(refused({ type: 'LIST_RESOLVERS', requestId: 'l' }), {
    type: 'LIST_RESOLVERS_RESPONSE',
    requestId: 'l',
    resolvers: [],
  });
  assert.deepEqual(refused({ type: 'UNREGISTER_RESOLVER', requestId: 'u' }), {
    type: 'UNREGISTER_RESOLVER_RESPONSE',
    requestId: 'u',
    success: false,
    error: error('UNREGISTER_RESOLVER'),
  });
});

test('a refused batch of processors answers for each key, up to a bound', () => {
  const answer = refused({ type: 'ENTRY_PROCESS_BATCH', requestId: 'b', mapName: 'm', keys: ['x', '__proto__'] });
  assert.deepEqual(Object.keys((answer as { results: object }).results), ['x', '__proto__']);
  const many = refused({ type: 'ENTRY_PROCESS_BATCH', requestId: 'b', mapName: 'm', keys: Array.from({ length: 5000 }, String) });
  assert.equal((many as { type: string }).type, 'ERROR');
});

test('where a response would be misread the refusal is ERROR 501, never an empty result', () => {
  const requests = [{ type: 'SQL_QUERY', payload: { sql: 'no id to answer to' } }];
  for (const request of requests) {
    const answer = refused(request) as { type: string; payload: { code: number; details: { type: string } } };
    assert.deepEqual([answer.type, answer.payload.code, answer.payload.details.type], ['ERROR', 501, request.type]);
  }
});

test('ending what never began needs no answer, and what is built is not refused', () => {
  for (const type of ['SEARCH_UNSUB', 'HYBRID_SEARCH_UNSUB']) {
    assert.equal(refused({ type, payload: { queryId: 'q' } }), undefined);
  }
  for (const type of ['QUERY_SUB', 'QUERY_UNSUB', 'QUERY_SYNC_INIT'])
    assert.equal(refused({ type, payload: { queryId: 'q' } }), undefined);
  assert.equal(refused({ type: 'SYNC_INIT', mapName: 'm' }), undefined);
});

test('messages of counters and of the journal are read as clients write them', () => {
  const counter = { type: 'COUNTER_SYNC', payload: { name: 'c', state: { p: { n: 1 } }, more: 1 } };
  assert.deepEqual(parseMessage(counter), { type: 'COUNTER_SYNC', name: 'c', state: { p: { n: 1 } } });
  assert.deepEqual(parseMessage({ type: 'COUNTER_REQUEST', payload: { name: 'c' } }), { type: 'COUNTER_REQUEST', name: 'c' });
  for (const payload of [{ state: {} }, { name: 5, state: {} }, { name: 'c' }, { name: 'c', state: 7 }]) {
    assert.equal(parseMessage({ type: 'COUNTER_SYNC', payload }), undefined);
  }
  const read = { type: 'JOURNAL_READ', requestId: 'r', fromSequence: 12, limit: null, mapName: null };
  assert.deepEqual(parseMessage(read), {
    type: 'JOURNAL_READ',
    requestId: 'r',
    fromSequence: '12',
    mapName: undefined,
    limit: undefined,
  });
  assert.equal(parseMessage({ type: 'JOURNAL_READ', requestId: 'r' }), undefined);
  assert.equal(parseMessage({ type: 'JOURNAL_SUBSCRIBE', fromSequence: '1' }), undefined);
  assert.deepEqual(parseMessage({ type: 'JOURNAL_SUBSCRIBE', requestId: 'r', types: ['PUT', 5], fromSequence: -1 }), {
    type: 'JOURNAL_SUBSCRIBE',
    requestId: 'r',
    fromSequence: undefined,
    mapName: undefined,
    types: ['PUT'],
  });
});

test('a lock is asked for by id, name and a time above 0, or it is not asked for', () => {
  const parse = (payload: object): unknown => parseMessage(decode(encode({ type: 'LOCK_REQUEST', payload })));
  assert.equal(parse({ requestId: 'r'.repeat(257), name: 'l' }), undefined, 'its id is kept while it waits');
  assert.deepEqual(parse({ requestId: 'r', name: 'l', ttl: 5 }), { type: 'LOCK_REQUEST', requestId: 'r', name: 'l', ttlMs: 5 });
  assert.deepEqual(parse({ requestId: 'r', name: 'l', ttl: null }), {
    type: 'LOCK_REQUEST',
    requestId: 'r',
    name: 'l',
    ttlMs: undefined,
  });
  for (const wrong of [{ ttl: 0 }, { ttl: -5 }, { ttl: 'x' }, { ttl: Number.NaN }, { requestId: 7 }, { name: null }]) {
    assert.equal(parse({ requestId: 'r', name: 'l', ttl: 5, ...wrong }), undefined, JSON.stringify(wrong));
  }
  assert.deepEqual(parseMessage(decode(encode({ type: 'LOCK_RELEASE', payload: { name: 'l' } }))), {
    type: 'LOCK_RELEASE',
    requestId: '',
    name: 'l',
    fencingToken: undefined,
  });
});
