import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { GridError } from '../../protocol/errors.ts';
import { ACTIONS, ALL_ROWS, HIDDEN, NO_ROWS } from './access.ts';
import { compileCondition, type RowTest } from './condition.ts';
import { Grants } from './grants.ts';
import { compilePattern } from './name-pattern.ts';
import { parsePolicy, type Policy } from './policy.ts';
import { NAMES, oracleAllows, oracleSees, policiesArbitrary, rowArbitrary, subjectArbitrary } from './policy-oracle.ts';
import { claimsOf, type Subject } from './subject.ts';

const compile = compileCondition;

const ada: Subject = { id: 'ada', roles: ['intern'], claims: new Map([['team', 'red']]) };

function grants(policies: readonly object[], subject: Subject | undefined = ada): Grants {
  return Grants.of(policies.map(parsePolicy), subject, compile);
}

const draws = fc.record({
  policies: policiesArbitrary,
  subject: subjectArbitrary,
  name: fc.constantFrom(...NAMES),
  row: rowArbitrary,
});

test('rows are seen, and actions allowed, exactly as the policies say one by one', () => {
  fc.assert(
    fc.property(draws, ({ policies, subject, name, row }) => {
      const given = Grants.parse(Grants.of(policies, subject, compile).text, compile);
      const seen = given.rows(name).see(row, 'k');
      assert.deepEqual(seen === HIDDEN ? undefined : { ...Object(seen) }, ofOracle(oracleSees(policies, subject, name, row)));
      for (const action of ACTIONS) {
        const decision = given.decide(action, name);
        const expected = oracleAllows(policies, subject, action, name, row);
        const isAllowed = decision === 'rows' ? given.rule(action, name).allows(row, 'k') : decision === 'allow';
        assert.equal(isAllowed, expected, action);
      }
    }),
    { numRuns: 3000 },
  );
});

function ofOracle(seen: unknown): unknown {
  return seen === undefined ? undefined : { ...Object(seen) };
}

test('a decision that does not depend on the row is the same for every row', () => {
  fc.assert(
    fc.property(draws, fc.array(rowArbitrary), ({ policies, subject, name }, rows) => {
      const given = Grants.of(policies, subject, compile);
      const view = given.rows(name);
      for (const row of rows) {
        if (view === ALL_ROWS) assert.deepEqual(ofOracle(oracleSees(policies, subject, name, row)), ofOracle(row));
        if (view === NO_ROWS) assert.equal(oracleSees(policies, subject, name, row), undefined);
      }
    }),
  );
});

test('a write never changes a field that its writer does not see, nor brings one in', () => {
  fc.assert(
    fc.property(
      draws,
      fc.dictionary(fc.constantFrom('owner', 'team', 'level', 'secret'), fc.nat(3)),
      ({ policies, subject, name, row }, written) => {
        const rule = Grants.of(policies, subject, compile).rule('read', name);
        const seen = oracleSees(policies, subject, name, row);
        if (typeof seen !== 'object' || seen === null || Array.isArray(seen)) return;
        const stored = rule.keepHidden(written, row, 'k');
        const result = new Map(Object.entries(Object(stored)));
        for (const [field, value] of Object.entries(Object(row))) {
          if (!Object.hasOwn(seen, field)) assert.deepEqual(result.get(field), value, `hidden field ${field} stays`);
        }
        for (const [field, value] of Object.entries(written)) {
          if (Object.hasOwn(seen, field)) assert.deepEqual(result.get(field), value, `field ${field} that is seen is written`);
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test('patterns match by segments, and in one pass however many stars there are', () => {
  const cases: [string, string, boolean][] = [
    ['*', 'a.b', true],
    ['a.*', 'a.b', true],
    ['a.*', 'a', false],
    ['a.*', 'a.b.c', false],
    ['a.**', 'a', true],
    ['a.**', 'a.b.c', true],
    ['**.c', 'a.b.c', true],
    ['a.**.c', 'a.c', true],
    ['a.**.c', 'a.b.d', false],
    ['a*', 'ab', false],
    ['', '', true],
  ];
  for (const [pattern, name, expected] of cases) assert.equal(compilePattern(pattern)(name), expected, `${pattern} ${name}`);
  const evil = compilePattern(`${'**.a.'.repeat(16)}b`);
  assert.equal(evil('a.'.repeat(200)), false);
});

test('a row of the owner is seen by the owner alone, and what nothing allows is denied', () => {
  const own = {
    id: 'own',
    pattern: 'notes',
    actions: ['read', 'write'],
    effect: 'allow',
    condition: { op: 'eq', attribute: 'owner', valueRef: 'auth.id' },
  };
  const given = grants([own]);
  assert.equal(given.rows('notes').see({ owner: 'bob' }, 'k'), HIDDEN);
  assert.deepEqual(given.rows('notes').see({ owner: 'ada', n: 1 }, 'k'), { owner: 'ada', n: 1 });
  assert.deepEqual(
    [given.decide('read', 'notes'), given.decide('remove', 'notes'), given.decide('lock', 'notes')],
    ['rows', 'deny', 'deny'],
  );
  assert.equal(grants([own], { ...ada, id: 'bob' }).text === given.text, false);
});

test('a condition about a claim that the subject lacks allows nothing, and denies everything', () => {
  const condition = { op: 'not', children: [{ op: 'eq', attribute: 'region', valueRef: 'auth.region' }] };
  const all = { id: 'all', pattern: '*', actions: ['all'], effect: 'allow' };
  assert.equal(grants([{ id: 'a', pattern: '*', actions: ['read'], effect: 'allow', condition }]).decide('read', 'm'), 'deny');
  assert.equal(
    grants([all, { id: 'd', pattern: '*', actions: ['read'], effect: 'deny', condition }]).decide('read', 'm'),
    'deny',
  );
  const own = parsePolicy({ ...all, actions: ['read'], condition: { op: 'eq', attribute: 'o', valueRef: 'auth.id' } });
  assert.equal(Grants.of([own], undefined, compile).decide('read', 'm'), 'deny');
});

test('a condition that cannot be judged shows nothing', () => {
  const broken = (): RowTest => () => {
    throw new GridError('INTERNAL', 'no answer');
  };
  const condition = { op: 'eq', attribute: 'a', value: 1 };
  const policies = [
    parsePolicy({ id: 'a', pattern: '*', actions: ['read'], effect: 'allow' }),
    parsePolicy({ id: 'd', pattern: '*', actions: ['read'], effect: 'deny', condition }),
  ];
  assert.equal(Grants.of(policies, ada, broken).rows('m').see({ a: 2 }, 'k'), HIDDEN);
  assert.equal(
    Grants.of([parsePolicy({ id: 'a', pattern: '*', actions: ['read'], effect: 'allow', condition })], ada, broken)
      .rows('m')
      .see({ a: 1 }, 'k'),
    HIDDEN,
  );
});

test('a condition that takes more steps on a row than it may shows nothing of it, and shows other rows as ever', () => {
  const costly = {
    op: 'or',
    children: Array.from({ length: 200 }, (_, at) => ({ op: 'like', attribute: 't', value: `%${'a'.repeat(56)}b${at}` })),
  };
  const long = { t: 'a'.repeat(100_000) };
  const short = { t: `${'a'.repeat(56)}b7` };
  const all = { id: 'all', pattern: '*', actions: ['all'], effect: 'allow' };
  const allowing = grants([{ id: 'a', pattern: '*', actions: ['read'], effect: 'allow', condition: costly }]).rows('m');
  const denying = grants([all, { id: 'd', pattern: '*', actions: ['read'], effect: 'deny', condition: costly }]).rows('m');
  assert.equal(allowing.see(long, 'k'), HIDDEN);
  assert.equal(denying.see(long, 'k'), HIDDEN);
  assert.equal(allowing.see(short, 'k'), short);
  assert.equal(denying.see({ t: 'b' }, 'k') === HIDDEN, false);
});

test('subjects whose policies bind alike have one text', () => {
  const policies = [
    parsePolicy({
      id: 't',
      pattern: '*',
      actions: ['read'],
      effect: 'allow',
      condition: { op: 'eq', attribute: 'team', valueRef: 'auth.team' },
    }),
  ];
  const other: Subject = { ...ada, id: 'bob' };
  assert.equal(Grants.of(policies, ada, compile).text, Grants.of(policies, other, compile).text);
});

test('hidden fields named like members of every object are cut, and nothing is polluted', () => {
  const row = JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1, "name": "x"}');
  const given = grants([
    { id: 'a', pattern: '*', actions: ['read'], effect: 'allow' },
    { id: 'd', pattern: '*', actions: ['read'], effect: 'deny', fields: ['constructor'] },
  ]);
  const seen = given.rows('m').see(row, 'k');
  assert.deepEqual(Object.keys(Object(seen)), ['__proto__', 'name']);
  assert.equal(Reflect.get({}, 'polluted'), undefined);
});

test('claims are flat, bounded, and cannot pose as the id or the roles', () => {
  const claims = claimsOf({
    sub: 'ada',
    id: 'root',
    roles: ['boss'],
    org: { id: 7, deep: { er: { still: { no: 1 } } } },
    tags: ['a', 1],
    odd: [{}],
  });
  assert.deepEqual(
    [...claims],
    [
      ['sub', 'ada'],
      ['org.id', 7],
      ['tags', ['a', 1]],
    ],
  );
  assert.equal(claimsOf(Object.fromEntries(Array.from({ length: 999 }, (_, n) => [`c${n}`, n]))).size, 64);
});

test('a policy that does not mean what it says is refused with the reason', () => {
  const good = { id: 'a', pattern: '*', actions: ['read'], effect: 'allow' };
  const bad: [object, RegExp][] = [
    [{ ...good, effect: 'permit' }, /effect of policy a/],
    [{ ...good, actions: [] }, /1 to 256/],
    [{ ...good, actions: ['fly'] }, /no action fly/],
    [{ ...good, subjects: [] }, /subjects of policy a/],
    [{ ...good, wher: {} }, /no wher/],
    [{ ...good, actions: ['publish'], condition: { op: 'eq', attribute: 'a', value: 1 } }, /rows/],
    [{ ...good, actions: ['write'], fields: ['a'] }, /read only/],
    [{ ...good, condition: { op: 'eq', attribute: 'a', valueRef: 'env.HOME' } }, /auth\. or data\./],
    [{ ...good, condition: { op: 'eq', attribute: 'a', evil: 1 } }, /no evil/],
    [{ ...good, claims: { team: [{}] } }, /claims of policy a/],
    [{ ...good, pattern: 'a.'.repeat(40) }, /segments/],
    [{ ...good, condition: nested(20) }, /deep/],
  ];
  for (const [policy, message] of bad) {
    assert.throws(
      () => parsePolicy(policy),
      (error) => error instanceof GridError && error.code === 'BAD_REQUEST' && message.test(error.message),
    );
  }
  const read: Policy = parsePolicy({ id: 'r', mapPattern: 'a.*', action: 'all', effect: 'deny' });
  assert.deepEqual(read, { id: 'r', pattern: 'a.*', actions: ACTIONS, effect: 'deny' });
});

function nested(depth: number): object {
  return depth === 0 ? { op: 'eq', attribute: 'a', value: 1 } : { op: 'not', children: [nested(depth - 1)] };
}
