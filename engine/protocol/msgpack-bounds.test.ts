import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode } from './codec.ts';
import { BOUNDS_REASONS, checkBounds, DEPTH_MAX, skipValue } from './msgpack-bounds.ts';

const check = (...bytes: number[]): string => BOUNDS_REASONS[checkBounds(Uint8Array.from(bytes), 0, bytes.length)] ?? '';
const [OK, TRUNCATED, TOO_DEEP, BAD_TOKEN, BAD_KEY, TRAILING] = BOUNDS_REASONS;

test('a header that claims more than the bytes that are left is refused, whatever its width', () => {
  const claims = [
    [0xdf, 255, 255, 255, 255],
    [0xdd, 255, 255, 255, 255],
    [0xdf, 127, 255, 255, 255],
    [0xdd, 0x80, 0, 0, 0],
  ];
  claims.push(
    [0xdb, 255, 255, 255, 255, 65],
    [0xc6, 0x80, 0, 0, 0],
    [0xda, 0, 2, 65],
    [0xd9, 2, 65],
    [0xc4, 1],
    [0xc5, 0, 1],
    [0xa2, 65],
  );
  claims.push(
    [0x82, 0xa1, 65, 1],
    [0x92, 1],
    [0xde, 0, 1, 0xa1],
    [0xdc, 0, 2, 1],
    [0xcb, 0, 0],
    [0xcd, 1],
    [0xd3, 0, 0, 0],
    [0xdf],
    [0xd9],
    [],
  );
  for (const bytes of claims) assert.equal(check(...bytes), TRUNCATED, bytes.join(' '));
});

test('256 levels pass and 257 do not, empty ones count too', () => {
  const nested = (levels: number): number[] => [...new Array<number>(levels - 1).fill(0x91), 0x90];
  assert.equal(check(...nested(DEPTH_MAX)), OK);
  assert.equal(check(...nested(DEPTH_MAX + 1)), TOO_DEEP);
  const maps = (levels: number): number[] => [...new Array<number[]>(levels - 1).fill([0x81, 0xa0]).flat(), 0x80];
  assert.equal(check(...maps(DEPTH_MAX)), OK);
  assert.equal(check(...maps(DEPTH_MAX + 1)), TOO_DEEP);
  assert.equal(checkBounds(Uint8Array.from(nested(3)), 0, 3, { depthMax: 3 }), 0);
  assert.notEqual(checkBounds(Uint8Array.from(nested(3)), 0, 3, { depthMax: 2 }), 0);
});

test('many containers beside one another are not deep', () => {
  const beside = encode(Array.from({ length: 2000 }, () => [[], {}]));
  assert.equal(checkBounds(beside, 0, beside.length), 0);
});

test('extension types and the token that is none are refused, as value and as key', () => {
  for (const token of [0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8]) {
    assert.equal(check(token, ...new Array<number>(20).fill(0)), BAD_TOKEN);
    assert.equal(check(0x81, token, ...new Array<number>(20).fill(0)), BAD_KEY);
  }
});

test('keys are strings, numbers, booleans or nil', () => {
  for (const key of [
    [0xa1, 65],
    [0xd9, 1, 65],
    [0xda, 0, 1, 65],
    [0xdb, 0, 0, 0, 1, 65],
    [5],
    [0xff],
    [0xcb, ...new Array<number>(8).fill(0)],
    [0xc3],
    [0xc0],
  ]) {
    assert.equal(check(0x81, ...key, 0xc0), OK);
  }
  for (const key of [[0x80], [0x90], [0xc4, 0], [0xdc, 0, 0], [0xdf, 0, 0, 0, 0]])
    assert.equal(check(0x81, ...key, 0xc0), BAD_KEY);
  assert.equal(check(0x81, 0xa1, 65, 0x91, 0x80), OK); // in an array inside a map they are values
});

test('one value and nothing behind it', () => {
  assert.equal(check(0xc0, 0xc0), TRAILING);
  assert.equal(skipValue(Uint8Array.of(0x91, 0xc0, 0xc0), 0, 3), 2);
});

test('only the given range is read', () => {
  const bytes = Uint8Array.of(0xc1, 0x92, 1, 2, 0xc1);
  assert.equal(checkBounds(bytes, 1, 4), 0);
  assert.notEqual(checkBounds(bytes, 1, 3), 0);
});
