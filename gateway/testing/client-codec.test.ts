import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeFrame, decodeFrame } from './client-codec.ts';

const FIXTURES = fileURLToPath(new URL('../../engine/protocol/fixtures/', import.meta.url));

test('the client double encodes the golden messages to the bytes of the real client', () => {
  const names = readdirSync(FIXTURES).filter((name) => name.endsWith('.json') && name !== 'BATCH.json'); // BATCH was made otherwise
  assert.ok(names.length > 50);
  for (const name of names) {
    const golden = readFileSync(`${FIXTURES}${name.replace('.json', '.msgpack')}`);
    const message: unknown = JSON.parse(readFileSync(FIXTURES + name, 'utf8'));
    assert.equal(Buffer.from(encodeFrame(message)).toString('hex'), golden.toString('hex'), name);
  }
});

test('what the real client does to bytes, undefined, lone surrogates and long integers is done too', () => {
  const hex = (value: unknown): string => Buffer.from(encodeFrame(value)).toString('hex');
  assert.equal(hex(Uint8Array.of(1, 2)), 'de0002a13001a13102');
  assert.equal(hex({ a: undefined, b: 1 }), 'de0001a16201');
  assert.equal(hex(2 ** 32), 'cb41f0000000000000');
  assert.equal(hex(-(2 ** 31)), 'd280000000');
  assert.equal(hex(2 ** 32 - 1), 'ceffffffff');
  assert.equal(hex('\ud800'), 'a3eda080');
  assert.equal(decodeFrame(encodeFrame('\ud800')), '\ud800');
});
