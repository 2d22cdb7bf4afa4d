import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TopicPattern } from './topic-pattern.ts';

const matches = (pattern: string, name: string): boolean => new TopicPattern(pattern).matches(name);

test('a pattern means what it means to Redis', () => {
  for (const [pattern, name, expected] of [
    ['news.*', 'news.', true],
    ['news.*', 'news.sport.uk', true],
    ['news.*', 'new', false],
    ['h?llo', 'hallo', true],
    ['h?llo', 'hllo', false],
    ['h[ae]llo', 'hello', true],
    ['h[ae]llo', 'hillo', false],
    ['h[^e]llo', 'hello', false],
    ['h[^e]llo', 'hallo', true],
    ['h[a-c]llo', 'hbllo', true],
    ['h[c-a]llo', 'hbllo', true],
    ['h[a-c]llo', 'hdllo', false],
    ['h\\*llo', 'h*llo', true],
    ['h\\*llo', 'hello', false],
    ['[\\]]', ']', true],
    ['*a*b*', 'xxaxxbxx', true],
    ['*a*b*', 'xxbxxaxx', false],
    ['**', '', true],
    ['', '', true],
    ['', 'a', false],
    ['a[bc', 'ab', true],
    ['a\\', 'a\\', true],
  ] as const) {
    assert.equal(matches(pattern, name), expected, `${pattern} over ${name}`);
  }
});

test('every name matches itself with its special characters escaped, and with any part of it as a run', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 20 }), fc.nat(20), fc.nat(20), (name, from, length) => {
      const escaped = (text: string): string => text.replace(/[*?[\]\\^-]/g, '\\$&');
      assert.equal(matches(escaped(name), name), true);
      assert.equal(matches(`${escaped(name.slice(0, from))}*${escaped(name.slice(from + length))}`, name), true);
    }),
  );
});

test('a pattern made to be slow is not', () => {
  const steps = matches(`${'*a'.repeat(300)}b`, 'a'.repeat(1000)); // 2^300 ways for a matcher that returns to every run
  assert.equal(steps, false);
});
