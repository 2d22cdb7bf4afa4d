import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GridError } from '../../protocol/errors.ts';
import { likeTest } from './like-pattern.ts';
import { regexTest } from './regex.ts';
import { StepBudget } from './step-budget.ts';
import { isSubstring } from './substring.ts';

const REFUSED = { code: 'BAD_REQUEST' };

/** Patterns of the subset over a small alphabet, so that they often match. */
const pattern = fc.letrec<{ choice: string; sequence: string; repeat: string; atom: string }>((tie) => ({
  choice: fc.array(tie('sequence'), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('|')),
  sequence: fc
    .array(fc.oneof(tie('repeat'), fc.constantFrom('^', '$', '\\b', '\\B')), { maxLength: 4 })
    .map((parts) => parts.join('')),
  repeat: fc
    .tuple(tie('atom'), fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,}', '{0,3}', '*?', '+?', '??', '{,2}'))
    .map(([atom, count]) => atom + count),
  atom: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(
      'a',
      'b',
      'c',
      '.',
      '\\d',
      '\\W',
      '\\s',
      '[ab]',
      '[^a-b]',
      '[\\d-]',
      '[-a]',
      '\\.',
      '1',
      ' ',
      '-',
      '\\x61',
      '\\u0062',
    ),
    tie('choice').map((choice) => `(${choice})`),
    tie('choice').map((choice) => `(?:${choice})`),
  ),
})).choice;

/** Most repeated groups inside one another: RegExp steps back, for hours where there are many. */
function nestedRepeats(source: string): number {
  const open: number[] = [];
  let inside = 0;
  let deepest = 0;
  for (let at = 0; at < source.length; at++) {
    if (source[at] === '(') {
      open.push(inside);
      inside = 0;
    } else if (source[at] === ')') {
      const repeats = inside + (/[*+?{]/.test(source[at + 1] ?? '') ? 1 : 0);
      inside = Math.max(open.pop() ?? 0, repeats);
      deepest = Math.max(deepest, inside);
    }
  }
  return deepest;
}

test('a pattern of the subset matches what RegExp matches', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '1', ' ', '-', '.', '\n', '_', 'é'), maxLength: 12 });
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 8 }), (source, texts) => {
      fc.pre(nestedRepeats(source) <= 2 && source.length <= 60);
      let matches: ReturnType<typeof regexTest>;
      try {
        matches = regexTest(source);
      } catch (error) {
        assert.ok(error instanceof GridError);
        fc.pre(false);
        return;
      }
      for (const one of texts)
        assert.equal(matches(one, new StepBudget()), new RegExp(source).test(one), `/${source}/ on ${JSON.stringify(one)}`);
    }),
    { numRuns: 3000 },
  );
});

test('what is no regular expression is refused by RegExp and by us alike', () => {
  for (const source of ['(', ')', '[', 'a**', '*', '+a', '(?:', '[b-a]', 'a{2,1}', '^*', '\\b+', '\\', 'a|*', '{1}', '{2}a']) {
    assert.throws(() => new RegExp(source), SyntaxError, source);
    assert.throws(() => regexTest(source), REFUSED, source);
  }
});

test('what no automaton can do is refused, not approximated', () => {
  for (const source of ['(a)\\1', '(?=a)', '(?!a)', '(?<=a)b', '(?<name>a)', '\\k<name>', '\\p{L}', '(?i:a)', '\\cA', '\\012'])
    assert.throws(() => regexTest(source), REFUSED, source);
});

test('a pattern that is too long, too deep or too large is refused', () => {
  assert.throws(() => regexTest('a'.repeat(1001)), REFUSED);
  assert.throws(() => regexTest('('.repeat(60) + ')'.repeat(60)), REFUSED);
  assert.throws(() => regexTest('(a{100}){100}'), REFUSED);
  assert.throws(() => regexTest('a{1001}'), REFUSED);
  assert.equal(regexTest('((((){1000}){1000}){1000}){1000}')('x', new StepBudget()), true, 'counts of nothing cost nothing');
});

test('evil patterns take no more steps than the text is long times the program', () => {
  const evil = [
    '(a*)*b',
    '(a|a)*b',
    '(a|aa)+$',
    '(.*)*x',
    '(a?){50}a{50}c',
    '^(([a-z])+.)+[A-Z]([a-z])+$',
    '(x+x+)+y',
    '(.*a){20}b',
  ];
  const text = 'a'.repeat(20_000);
  const found = evil.filter((source) => regexTest(source)(text, new StepBudget())); // RegExp would not come back in this life
  assert.deepEqual(found, ['(a|aa)+$']);
});

test('a text that is too long for a pattern is an error, never a quiet answer', () => {
  assert.throws(() => regexTest('(a|b){60}c')('a'.repeat(1_000_000), new StepBudget()), REFUSED);
  assert.throws(() => likeTest(`%${'_'.repeat(100)}b`)('a'.repeat(1_000_000), new StepBudget()), REFUSED);
});

test('like matches as its translation to a regular expression does', () => {
  const unit = fc.constantFrom('a', 'A', 'b', '%', '_', '.', '😀');
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 8 }), fc.string({ unit, maxLength: 12 }), (like, text) => {
      const source = [...like].map((point) =>
        point === '%' ? '.*' : point === '_' ? '.' : `\\u{${point.codePointAt(0)?.toString(16)}}`,
      );
      assert.equal(
        likeTest(like)(text, new StepBudget()),
        new RegExp(`^${source.join('')}$`, 'isu').test(text),
        `${like} on ${text}`,
      );
    }),
    { numRuns: 3000 },
  );
});

test('a long text is searched for a long part without stepping back', () => {
  const part = `${'a'.repeat(200_000)}b`;
  assert.equal(isSubstring(part, 'a'.repeat(1_000_000), new StepBudget()), false);
  assert.equal(isSubstring(part, `${'a'.repeat(1_000_000)}b`, new StepBudget()), true);
  assert.equal(isSubstring('abab'.repeat(600), `${'abab'.repeat(599)}aba${'abab'.repeat(601)}`, new StepBudget()), true);
});

test('a part is found in a text wherever it stands', () => {
  const unit = fc.constantFrom('a', 'b');
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 12 }), fc.string({ unit, maxLength: 60 }), (part, text) => {
      assert.equal(isSubstring(part, text, new StepBudget()), text.includes(part), `${part} in ${text}`);
    }),
    { numRuns: 3000 },
  );
});
