import assert from 'node:assert/strict';
import test from 'node:test';
import { Definitions } from '../../operation/definitions.ts';
import { errorNumber } from '../../protocol/errors.ts';
import { EngineUnderTest, utf8 } from '../testing/scanned-ops.ts';
import { keepSchemas, schemaBody } from './schema-keeper.ts';

const NUMBER = schemaBody('strict', { type: 'number' });
const VIOLATION = errorNumber('SCHEMA_VIOLATION');

class KeeperUnderTest {
  readonly engine = new EngineUnderTest();
  readonly definitions = new Definitions();
  readonly warnings: string[] = [];
  violations = 0;
  readonly #mapIds = new Map<string, number>();
  #version = 0;

  constructor() {
    keepSchemas({
      maps: this.engine.maps,
      definitions: this.definitions,
      onViolation: () => {
        this.violations += 1;
      },
      warn: (text) => this.warnings.push(text),
    });
  }

  define(name: string, body: string | undefined): void {
    this.#version += 1;
    this.definitions.apply({ kind: 'schema', name, version: this.#version, body });
  }

  /** The error number that a write is refused with, or undefined. */
  write(mapName: string, value: unknown): number | undefined {
    const record = { value, timestamp: { millis: 5, counter: 0, nodeId: 'n' } };
    const op = { id: '1', mapName, key: `k${this.#version}`, opType: 'PUT', record };
    return this.engine.apply([op], 1_000_000, 0, 7, this.#mapIds).get(0);
  }
}

test('a schema holds for a map that is there, for one that is made later, and for no other', () => {
  const under = new KeeperUnderTest();
  assert.equal(under.write('there', 'text'), undefined);
  under.define('there', NUMBER);
  under.define('later', NUMBER);
  assert.deepEqual(
    [under.write('there', 'text'), under.write('later', 'text'), under.write('other', 'text'), under.write('there', 1)],
    [VIOLATION, VIOLATION, undefined, undefined],
  );
  assert.equal(under.violations, 2);
});

test('a schema that is changed or removed holds no more', () => {
  const under = new KeeperUnderTest();
  under.define('m', NUMBER);
  under.define('m', schemaBody('strict', { type: 'string' }));
  assert.deepEqual([under.write('m', 1), under.write('m', 'text')], [VIOLATION, undefined]);
  under.define('m', undefined);
  assert.equal(under.write('m', 1), undefined);
});

test('a stored schema that cannot be used is told and checks nothing; other guards of the map stay', () => {
  const under = new KeeperUnderTest();
  const map = under.engine.maps.openByName(utf8('m'));
  map?.guardWith('policy', { refusal: () => ({ code: 'FORBIDDEN', detail: 'no' }) });
  under.define('m', '{"mode":"strict","schema":{"type":"nonsense"}}');
  assert.match(under.warnings[0] ?? '', /^map 'm' is not checked: /);
  assert.equal(under.write('m', 1), errorNumber('FORBIDDEN'));
});
