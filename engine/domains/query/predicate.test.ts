import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decode, encode } from '../../protocol/codec.ts';
import { compareValues, isEqual } from './comparison.ts';
import {
  allOf,
  compileNode,
  compilePredicate,
  compileWhere,
  conjunctsOf,
  EVERY_ROW,
  PREDICATE_DEPTH_MAX,
  PREDICATE_NODES_MAX,
} from './predicate.ts';
import { QUERY_STEPS_MAX, StepBudget } from './step-budget.ts';

const REFUSED = { code: 'BAD_REQUEST' };
const ROW = {
  name: 'Ada Lovelace',
  age: 36,
  tags: ['math', 'engine'],
  address: { city: 'London', geo: { lat: 51.5 } },
  'a.b': 'dotted',
  nothing: null,
  done: false,
  mother: 'Ada Lovelace',
  limit: 40,
};

function judge(node: object, value: unknown = ROW, auth?: unknown): boolean {
  const viaWire = decode(encode(node));
  return compilePredicate(viaWire, { auth }).matches(decode(encode(value)), 'k1');
}

const leaf = (op: string, attribute: string, value?: unknown) => ({ op, attribute, value });

test('each operator answers as the client expects', () => {
  const cases: readonly [object, boolean][] = [
    [leaf('eq', 'age', 36), true],
    [leaf('eq', 'age', '36'), false],
    [leaf('neq', 'age', 36), false],
    [leaf('neq', 'missing', 36), true],
    [leaf('eq', 'nothing', null), true],
    [leaf('eq', 'missing', null), false],
    [leaf('eq', 'address', { geo: { lat: 51.5 }, city: 'London' }), true],
    [leaf('eq', 'tags', ['math', 'engine']), true],
    [leaf('gt', 'age', 35.5), true],
    [leaf('gt', 'age', '35'), false],
    [leaf('gte', 'age', 36), true],
    [leaf('lt', 'name', 'B'), true],
    [leaf('lte', 'age', 35), false],
    [leaf('lt', 'nothing', 5), false],
    [leaf('gt', 'done', false), false],
    [leaf('between', 'age', [36, 40]), true],
    [leaf('between', 'age', [37, 40]), false],
    [leaf('between', 'name', ['A', 'B']), true],
    [leaf('in', 'age', [1, 36]), true],
    [leaf('in', 'age', ['36']), false],
    [leaf('in', 'address', [{ city: 'London', geo: { lat: 51.5 } }]), true],
    [leaf('in', 'tags', 'math'), true],
    [leaf('contains', 'name', 'LOVE'), true],
    [leaf('contains', 'tags', 'math'), true],
    [leaf('contains', 'tags', 'mat'), false],
    [leaf('containsAll', 'name', ['ada', 'lace']), true],
    [leaf('containsAll', 'tags', ['math', 'x']), false],
    [leaf('containsAny', 'tags', ['math', 'x']), true],
    [leaf('startsWith', 'name', 'Ada'), true],
    [leaf('startsWith', 'name', 'ada'), false],
    [leaf('endsWith', 'name', 'lace'), true],
    [leaf('like', 'name', 'ada%_ace'), true],
    [leaf('like', 'name', 'ada'), false],
    [leaf('regex', 'name', '^A.a L'), true],
    [leaf('regex', 'age', '36'), false],
    [leaf('isNull', 'nothing'), true],
    [leaf('isNull', 'missing'), true],
    [leaf('isNotNull', 'age'), true],
    [{ op: 'match', attribute: 'name', query: 'love ada' }, true],
    [{ op: 'match', attribute: 'name', query: 'love ada', matchOptions: { operator: 'and' } }, false],
    [{ op: 'match', attribute: 'tags', query: 'ENGINE' }, true],
    [{ op: 'matchPhrase', attribute: 'name', query: 'ada lovelace' }, true],
    [{ op: 'matchPhrase', attribute: 'name', query: 'lovelace ada' }, false],
    [{ op: 'matchPrefix', attribute: 'name', prefix: 'lov' }, true],
    [leaf('eq', 'address.city', 'London'), true],
    [leaf('gt', 'address.geo.lat', 51), true],
    [leaf('eq', 'a.b', 'dotted'), true],
    [leaf('eq', 'tags.0', 'math'), false],
    [leaf('eq', '_key', 'k1'), true],
    [{ op: 'and', children: [leaf('eq', 'age', 36), leaf('eq', 'done', false)] }, true],
    [{ op: 'and', children: [] }, true],
    [{ op: 'or', children: [leaf('eq', 'age', 1), leaf('eq', 'done', false)] }, true],
    [{ op: 'or', children: [] }, false],
    [{ op: 'not', children: [leaf('eq', 'age', 36)] }, false],
    [{ op: 'not', children: [{ op: 'or', children: [leaf('eq', 'age', 1), leaf('gt', 'age', 99)] }] }, true],
    [{ op: 'not', children: [] }, true],
    [{ op: 'not', children: [{ op: 'not', children: [leaf('eq', 'age', 36)] }] }, true],
    [{ op: 'eq', attribute: 'name', valueRef: 'data.mother' }, true],
    [{ op: 'lt', attribute: 'age', valueRef: 'data.limit', value: 0 }, true],
  ];
  for (const [node, expected] of cases) assert.equal(judge(node), expected, JSON.stringify(node));
});

test('a where compares fields by their plain names, and does not interpret operators', () => {
  assert.equal(judge({ done: false, age: 36 }), true);
  assert.equal(judge({ done: false, age: 37 }), false);
  assert.equal(judge({ 'address.city': 'London' }), false);
  assert.equal(judge({ 'a.b': 'dotted' }), true);
  assert.equal(judge({ age: { $gt: 18 } }), false);
  assert.equal(judge({ age: { $gt: 18 } }, { age: { $gt: 18 } }), true);
  assert.equal(judge({ _key: 'k1' }), true);
  assert.equal(judge({ op: 'eq' }, { op: 'eq' }), true, 'a field may be called op');
  assert.equal(judge({ x: 1 }, 'a text'), false);
});

test('names of JavaScript are names like all others', () => {
  for (const name of ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']) {
    assert.equal(judge(leaf('isNull', name)), true, name);
    assert.equal(judge(leaf('isNull', `address.${name}`)), true, name);
    assert.equal(compileNode(leaf('isNotNull', name)).matches({ plain: 1 }, 'k'), false, name);
  }
  const own = JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}');
  assert.equal(compileNode(leaf('eq', '__proto__.x', 1)).matches(own, 'k'), true);
  assert.equal(compileWhere(JSON.parse('{"constructor": 2}')).matches(own, 'k'), true);
});

test('a reference to a claim takes the claim, and lets nothing through when there is none', () => {
  const own = { op: 'eq', attribute: 'name', valueRef: 'auth.person.name' };
  assert.equal(judge(own, ROW, { 'person.name': 'Ada Lovelace' }), true);
  assert.equal(judge(own, ROW, { 'person.name': 'Eve' }), false);
  for (const auth of [undefined, {}, { person: null }, { 'person.name': null }, 'text']) {
    assert.equal(judge(own, ROW, auth), false);
    assert.equal(judge({ op: 'not', children: [own] }, ROW, auth), false, 'neither true nor false');
    assert.equal(judge({ op: 'neq', attribute: 'name', valueRef: 'auth.person.name' }, ROW, auth), false);
    assert.equal(judge({ op: 'or', children: [own, leaf('eq', 'done', false)] }, ROW, auth), true);
    assert.equal(judge({ op: 'not', children: [{ op: 'and', children: [own, leaf('eq', 'done', true)] }] }, ROW, auth), true);
  }
  const other = { op: 'not', children: [{ op: 'eq', attribute: 'name', valueRef: 'data.missing' }] };
  assert.equal(judge(other), false);
});

test('what is no predicate is refused with its reason', () => {
  const refused: unknown[] = [
    'text',
    5,
    [leaf('eq', 'a', 1)],
    leaf('unheard', 'a', 1),
    { op: 'eq', attribute: '' },
    { op: 'eq', attribute: 'x'.repeat(257) },
    { op: 'eq', attribute: 'a.'.repeat(20) },
    { op: 'and', children: [5] },
    { op: 'and', children: [{ op: 'eq' }] },
    leaf('between', 'a', 5),
    leaf('like', 'a', 5),
    leaf('regex', 'a', '('),
    leaf('containsAll', 'a', 'x'),
    { op: 'match', attribute: 'a' },
    { op: 'match', attribute: 'a', query: 'x', matchOptions: { fuzziness: 1 } },
    { op: 'matchPhrase', attribute: 'a', query: 'x', slop: -1 },
    { op: 'eq', attribute: 'a', valueRef: 'secret.x' },
    { op: 'eq', attribute: 'a', valueRef: 5 },
    { op: 'regex', attribute: 'a', valueRef: 'data.b' },
    leaf('in', 'a', new Array(10_001).fill(1)),
  ];
  for (const where of refused) assert.throws(() => compilePredicate(where), REFUSED, JSON.stringify(where).slice(0, 80));
});

test('all leaves of a predicate spend from one budget, and a row that takes more is an error, never a quiet answer', () => {
  const many = (make: (index: number) => object): object => ({
    op: 'or',
    children: Array.from({ length: 500 }, (_, at) => make(at)),
  });
  const text = 'A'.repeat(2 ** 21);
  const words = 'ab '.repeat(2 ** 18);
  const list = Array.from({ length: 50_000 }, (_, at) => `${'m'.repeat(20)}${at}`);
  const maps = Array.from({ length: 2_000 }, (_, at) => ({ at, of: list.length }));
  const map = Object.fromEntries(list.map((name) => [name, 1]));
  const bytes = new Uint8Array(2 ** 20);
  const otherBytes = bytes.slice().fill(1, -1);
  const otherMaps = maps.map((item, at) => ({ ...item, of: at === maps.length - 1 ? 0 : item.of }));
  const row = { text, words, list, maps, otherMaps, bytes, otherBytes, map };
  const costly: readonly object[] = [
    many((at) => leaf('like', 'text', `%${'a'.repeat(56)}b${at}`)),
    many((at) => leaf('like', 'text', `%b${at}`)),
    many((at) => leaf('regex', 'text', `b${at}`)),
    many((at) => leaf('contains', 'text', `b${at}`)),
    many((at) => leaf('contains', 'list', `b${at}`)),
    many((at) => ({ op: 'match', attribute: 'words', query: `b${at}` })),
    many((at) => ({ op: 'matchPhrase', attribute: 'words', query: `ab b${at}` })),
    many((at) => ({ op: 'matchPrefix', attribute: 'words', prefix: `b${at}` })),
    many((at) => leaf('in', 'list', `b${at}`)),
    many(() => leaf('in', 'map', [{ at: 1 }])),
    many(() => ({ op: 'eq', attribute: 'maps', valueRef: 'data.otherMaps' })),
    many(() => ({ op: 'eq', attribute: 'bytes', valueRef: 'data.otherBytes' })),
    many(() => ({ op: 'in', attribute: 'text', valueRef: 'data.maps' })),
    leaf(
      'containsAny',
      'text',
      Array.from({ length: 10_000 }, (_, at) => `b${at}`),
    ),
    { op: 'not', children: [leaf('containsAll', 'list', list.slice(-10_000))] },
  ];
  for (const node of costly) {
    const predicate = compileNode(node);
    assert.throws(() => predicate.matches(row, 'k'), REFUSED, JSON.stringify(node).slice(0, 120));
    assert.doesNotThrow(() => predicate.matches({}, 'k'), 'the next row has a budget of its own');
  }
});

test('any one operator with a usual operand is judged on the longest text', () => {
  const row = { text: `${'so many words '.repeat(150_000).slice(0, 2 ** 21 - 1000)} END` };
  const usual: readonly object[] = [
    leaf('like', 'text', '%end'),
    leaf('regex', 'text', 'EN[A-D]$'),
    leaf('contains', 'text', ' end'),
    leaf('containsAny', 'text', ['first', 'second', 'end']),
    { op: 'match', attribute: 'text', query: 'the end' },
    { op: 'matchPrefix', attribute: 'text', prefix: 'en' },
    leaf('endsWith', 'text', 'END'),
  ];
  for (const node of usual) assert.equal(compileNode(node).matches(row, 'k'), true, JSON.stringify(node));
});

test('a predicate may be given fewer steps than it could take', () => {
  const predicate = compileNode(leaf('contains', 'text', 'end'));
  const row = { text: 'x'.repeat(1000) };
  assert.equal(predicate.matches(row, 'k'), false);
  assert.throws(() => predicate.matches(row, 'k', new StepBudget(100)), REFUSED);
  assert.equal(predicate.matches(row, 'k', new StepBudget(QUERY_STEPS_MAX)), false);
});

test('depth and nodes are bounded', () => {
  const nested = (depth: number): object => (depth === 1 ? leaf('eq', 'a', 1) : { op: 'not', children: [nested(depth - 1)] });
  assert.doesNotThrow(() => compilePredicate(nested(PREDICATE_DEPTH_MAX)));
  assert.throws(() => compilePredicate(nested(PREDICATE_DEPTH_MAX + 1)), REFUSED);
  const wide = (children: number) => ({ op: 'or', children: new Array(children).fill(leaf('eq', 'a', 1)) });
  assert.doesNotThrow(() => compilePredicate(wide(PREDICATE_NODES_MAX - 1)));
  assert.throws(() => compilePredicate(wide(PREDICATE_NODES_MAX)), REFUSED);
  const fields = Object.fromEntries(Array.from({ length: PREDICATE_NODES_MAX + 1 }, (_, index) => [`f${index}`, 1]));
  assert.throws(() => compileWhere(fields), REFUSED);
});

test('nothing asked is every row, and predicates can be joined', () => {
  assert.equal(compilePredicate(undefined), EVERY_ROW);
  assert.equal(allOf([EVERY_ROW, EVERY_ROW]), EVERY_ROW);
  const joined = allOf([compileWhere({ age: 36 }), EVERY_ROW, compileNode(leaf('like', 'name', 'a%'))]);
  assert.equal(joined.matches(ROW, 'k'), true);
  assert.equal(joined.matches({ ...ROW, name: 'Bob' }, 'k'), false);
});

test('planners see the leaves that every row must fulfil', () => {
  const node = {
    op: 'and',
    children: [
      leaf('eq', 'a', 1),
      { op: 'or', children: [leaf('eq', 'b', 1), leaf('eq', 'c', 1)] },
      { op: 'not', children: [leaf('gt', 'd', 1)] },
    ],
  };
  const conjuncts = conjunctsOf(compileNode(node).tree).map(({ attribute, op, negated }) => [attribute, op, negated]);
  assert.deepEqual(conjuncts, [
    ['a', 'eq', false],
    ['d', 'gt', true],
  ]);
});

const scalar = fc.oneof(fc.constantFrom(null, true, false, 'a', 'b', '', Number.NaN), fc.integer({ min: -2, max: 2 }));
const anyValue = fc.oneof(
  scalar,
  fc.array(scalar, { maxLength: 2 }),
  fc.dictionary(fc.constantFrom('x', 'y'), scalar, { maxKeys: 2 }),
);

test('values have a total order, with null last, that equality agrees with for scalars', () => {
  fc.assert(
    fc.property(anyValue, anyValue, anyValue, (a, b, c) => {
      assert.equal(Math.sign(compareValues(a, b)), -Math.sign(compareValues(b, a)) || 0);
      if (compareValues(a, b) <= 0 && compareValues(b, c) <= 0) assert.ok(compareValues(a, c) <= 0);
      if (compareValues(a, null) > 0) assert.fail('nothing sorts behind null');
      if (isEqual(a, b, new StepBudget())) assert.equal(compareValues(a, b), 0);
    }),
  );
});

/** The predicate language once more, as plainly as can be. */
function plainly(
  node: { op: string; attribute?: string; value?: unknown; children?: (typeof node)[] },
  row: Record<string, unknown>,
): boolean {
  const children = node.children ?? [];
  if (node.op === 'and') return children.every((child) => plainly(child, row));
  if (node.op === 'or') return children.some((child) => plainly(child, row));
  if (node.op === 'not') return children[0] === undefined || !plainly(children[0], row);
  const field = row[node.attribute ?? ''];
  const value = node.value;
  if (node.op === 'eq') return JSON.stringify(field) === JSON.stringify(value ?? null);
  if (node.op === 'neq') return JSON.stringify(field) !== JSON.stringify(value ?? null);
  if (node.op === 'isNull') return field === null || field === undefined;
  if (typeof field !== typeof value || field === null || typeof field === 'object' || field === undefined) return false;
  return node.op === 'gt' ? (field as number) > (value as number) : (field as number) <= (value as number);
}

test('a tree of operators means what it says, however `not`s are nested', () => {
  const finite = fc.oneof(fc.constantFrom(null, true, false, 'a', 'b'), fc.integer({ min: -2, max: 2 }));
  const attribute = fc.constantFrom('x', 'y', 'z');
  const leaves = fc.record({ op: fc.constantFrom('eq', 'neq', 'gt', 'lte', 'isNull'), attribute, value: finite });
  const tree = fc.letrec<{ node: Parameters<typeof plainly>[0] }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaves,
      fc.record({ op: fc.constantFrom('and', 'or', 'not'), children: fc.array(tie('node'), { maxLength: 3 }) }),
    ),
  })).node;
  fc.assert(
    fc.property(tree, fc.dictionary(attribute, finite), (node, row) => {
      assert.equal(compileNode(node).matches(row, 'k'), plainly(node, row));
    }),
    { numRuns: 2000 },
  );
});
