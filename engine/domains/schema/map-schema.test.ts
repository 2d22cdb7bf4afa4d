import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { GridError } from '../../protocol/errors.ts';
import { MapSchema } from './map-schema.ts';

function schemaOf(definition: object): MapSchema {
  return new MapSchema({ mapName: 'm', mode: 'strict', version: 1, definition: JSON.stringify(definition) });
}

const TODO = {
  type: 'object',
  properties: {
    title: { type: 'string', minLength: 1, maxLength: 20 },
    done: { type: 'boolean' },
    priority: { type: 'integer', minimum: 0, maximum: 5 },
    tags: { type: 'array', items: { type: 'string' } },
    state: { enum: ['open', 'closed'] },
  },
  required: ['title'],
};

test('a value that fits passes, with fields that the schema does not know', () => {
  const schema = schemaOf(TODO);
  assert.equal(schema.check({ title: 'milk', done: false, priority: 3, tags: ['a'], state: 'open', later: { x: 1 } }), undefined);
});

test('what does not fit is named by its field', () => {
  const schema = schemaOf(TODO);
  assert.match(schema.check({ done: true }) ?? '', /^field 'title': /);
  assert.match(schema.check({ title: 'x', priority: 6 }) ?? '', /^field 'priority': /);
  assert.match(schema.check({ title: 'x', tags: ['a', 7] }) ?? '', /^field 'tags\.1': /);
  assert.match(schema.check({ title: 'x', state: 'lost' }) ?? '', /^field 'state': /);
  assert.match(schema.check('milk') ?? '', /^the value: /);
  assert.match(schema.check(null) ?? '', /^the value: /);
});

test('a schema may forbid unknown fields', () => {
  const schema = schemaOf({ type: 'object', properties: { a: { type: 'number' } }, additionalProperties: false });
  assert.equal(schema.check({ a: 1 }), undefined);
  assert.notEqual(schema.check({ a: 1, b: 2 }), undefined);
});

test('a zod schema comes across in its standard form', () => {
  const zod = z.object({ name: z.string().max(5), age: z.int().min(0).optional() });
  const schema = schemaOf(z.toJSONSchema(zod, { io: 'input' }));
  fc.assert(
    fc.property(fc.record({ name: fc.anything(), age: fc.anything() }, { requiredKeys: [] }), (value) => {
      assert.equal(schema.check(value) === undefined, zod.safeParse(value).success);
    }),
  );
});

test('checking changes neither the value nor the prototype of objects', () => {
  const schema = schemaOf(TODO);
  const value: unknown = JSON.parse('{"title":"x","__proto__":{"polluted":true},"constructor":1}');
  const before = JSON.stringify(value);
  assert.equal(schema.check(value), undefined);
  assert.equal(JSON.stringify(value), before);
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
});

test('definitions that cannot be held to are refused by what is wrong with them', () => {
  const refused: [string, RegExp][] = [
    ['{', /not JSON/],
    ['[]', /not an object/],
    ['{"type":"string","pattern":"(a+)+$"}', /'pattern' at \/ is not supported/],
    ['{"type":"object","properties":{"a":{"type":"string","format":"email"}}}', /'format' at \/properties\/a/],
    ['{"type":"nonsense"}', /cannot be used/],
    [`{"title":"${'x'.repeat(70_000)}"}`, /characters/],
    [`${'{"not":'.repeat(40)}{}${'}'.repeat(40)}`, /nested deeper/],
  ];
  for (const [definition, why] of refused) {
    assert.throws(
      () => new MapSchema({ mapName: 'm', mode: 'strict', version: 1, definition }),
      (error) => error instanceof GridError && error.code === 'BAD_REQUEST' && why.test(error.message),
      definition.slice(0, 60),
    );
  }
});

test('a field may be called like a refused keyword', () => {
  const schema = schemaOf({ type: 'object', properties: { pattern: { type: 'string' }, format: { type: 'number' } } });
  assert.equal(schema.check({ pattern: 'x', format: 1 }), undefined);
  assert.match(schema.check({ format: 'x' }) ?? '', /^field 'format'/);
});
