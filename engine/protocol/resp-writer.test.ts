import assert from 'node:assert/strict';
import test from 'node:test';
import { ReplyTooLarge, RespWriter } from './resp-writer.ts';

function written(isResp3: boolean, write: (out: RespWriter) => void): string {
  const out = new RespWriter();
  out.isResp3 = isResp3;
  write(out);
  return Buffer.from(out.bytes.subarray(0, out.length)).toString('utf8');
}

test('a writer takes no more than it may hold, save for a line that says so', () => {
  const out = new RespWriter();
  out.bytesMax = 100;
  out.array(2);
  const start = out.length;
  assert.throws(() => out.bulk(new Uint8Array(200)), ReplyTooLarge);
  out.length = start;
  out.bulk(new Uint8Array(20));
  assert.throws(() => {
    for (let count = 0; count < 100; count++) out.integer(count);
  }, ReplyTooLarge);
  assert.ok(out.length <= 100);
  out.error('ERR too large'.padEnd(100));
  assert.ok(out.length > 100);
});

test('replies of both versions of the protocol', () => {
  const cases: [(out: RespWriter) => void, string, string][] = [
    [(out) => out.nil(), '$-1\r\n', '_\r\n'],
    [(out) => out.nilArray(), '*-1\r\n', '_\r\n'],
    [(out) => out.map(12), '*24\r\n', '%12\r\n'],
    [(out) => out.set(2), '*2\r\n', '~2\r\n'],
    [(out) => out.push(3), '*3\r\n', '>3\r\n'],
    [(out) => out.integer(-5), ':-5\r\n', ':-5\r\n'],
    [(out) => out.integer(2n ** 63n - 1n), ':9223372036854775807\r\n', ':9223372036854775807\r\n'],
    [(out) => out.ok(), '+OK\r\n', '+OK\r\n'],
    [(out) => out.error('ERR a\r\nb'), '-ERR a  b\r\n', '-ERR a  b\r\n'],
    [(out) => out.bulkText('naïve'), '$6\r\nnaïve\r\n', '$6\r\nnaïve\r\n'],
    [(out) => out.verbatim('x'), '$1\r\nx\r\n', '=5\r\ntxt:x\r\n'],
    [(out) => out.simple('naïve 🌍'), '+naïve 🌍\r\n', '+naïve 🌍\r\n'],
  ];
  for (const [write, resp2, resp3] of cases) {
    assert.equal(written(false, write), resp2);
    assert.equal(written(true, write), resp3);
  }
});

test('the buffer grows with what is written, and is small again after a large reply', () => {
  const out = new RespWriter();
  const large = new Uint8Array(3 << 20).fill(0x61);
  out.bulk(large);
  assert.equal(Buffer.from(out.bytes.subarray(0, 12)).toString(), '$3145728\r\naa');
  assert.equal(out.length, large.length + 12);
  out.reset();
  out.ok();
  assert.ok(out.bytes.length < 10_000);
});
