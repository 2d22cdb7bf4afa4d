import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { RESP_COMMAND, RESP_ERROR, RESP_NEEDS_MORE, type RespLimits, RespParser } from './resp-parser.ts';

const LIMITS: RespLimits = { argumentsMax: 1000, bulkBytesMax: 1 << 20, commandBytesMax: 4 << 20 };

interface Parsed {
  readonly commands: string[][];
  readonly error: string | undefined;
}

/** Feeds the chunks as sockets do: each in memory of its own, gone when the next one comes. */
function parse(chunks: readonly Buffer[], limits = LIMITS, isTrusted = true): Parsed {
  const parser = new RespParser(limits);
  parser.isTrusted = isTrusted;
  const commands: string[][] = [];
  for (const chunk of chunks) {
    parser.feed(Uint8Array.from(chunk));
    for (;;) {
      const step = parser.next();
      if (step === RESP_NEEDS_MORE) break;
      if (step === RESP_ERROR) return { commands, error: parser.error };
      assert.equal(step, RESP_COMMAND);
      const { command } = parser;
      const words = Array.from({ length: command.count }, (_, index) => Buffer.from(command.argument(index)).toString('latin1'));
      commands.push(words);
    }
  }
  return { commands, error: undefined };
}

function encoded(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`;
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

const STREAM = [
  encoded(['SET', 'key', 'a\r\nb']),
  'PING\r\n',
  '*0\r\n',
  '*-1\r\n',
  '\r\n',
  encoded(['GET', '']),
  'set "a b" \'c\\\'d\' "\\x41\\n"\n',
  encoded(['x'.repeat(300)]),
].join('');
const EXPECTED = [['SET', 'key', 'a\r\nb'], ['PING'], ['GET', ''], ['set', 'a b', "c'd", 'A\n'], ['x'.repeat(300)]];

test('commands come whole and in order wherever the stream is cut', () => {
  for (let at = 0; at <= STREAM.length; at++) {
    assert.deepEqual(
      parse([bytes(STREAM.slice(0, at)), bytes(STREAM.slice(at))]),
      { commands: EXPECTED, error: undefined },
      `cut at ${at}`,
    );
  }
  assert.deepEqual(parse([...STREAM].map(bytes)).commands, EXPECTED);
});

test('any commands of any bytes come whole wherever the stream is cut', () => {
  const word = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array).toString('latin1'));
  const commands = fc.array(fc.array(word, { minLength: 1, maxLength: 20 }), { maxLength: 10 });
  fc.assert(
    fc.property(commands, fc.array(fc.nat(100), { maxLength: 200 }), (sent, sizes) => {
      let rest = bytes(sent.map(encoded).join(''));
      const chunks: Buffer[] = [];
      for (const size of sizes) {
        chunks.push(rest.subarray(0, size));
        rest = rest.subarray(size);
      }
      assert.deepEqual(parse([...chunks, rest]), { commands: sent, error: undefined });
    }),
  );
});

test('any bytes at all lead to commands, an error or a wait, the same ones wherever they are cut', () => {
  const piece = fc.constantFrom(
    '*',
    '$',
    '1',
    '2',
    '-1',
    '\r\n',
    '\n',
    '"',
    "'",
    'a',
    ' ',
    '\\x',
    '\0',
    '*1\r\n',
    '$1\r\n',
    'GET',
    '\xff',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), fc.nat(200), (pieces, at) => {
      const stream = pieces.join('');
      assert.deepEqual(parse([bytes(stream.slice(0, at)), bytes(stream.slice(at))]), parse([bytes(stream)]));
    }),
    { numRuns: 1000 },
  );
});

test('what is wrong is said in the words of Redis', () => {
  const cases: [string, string][] = [
    ['*x\r\n', 'invalid multibulk length'],
    ['*1001\r\n', 'invalid multibulk length'],
    ['*99999999999999999999\r\n', 'invalid multibulk length'],
    ['*1\r\nfoo\r\n', "expected '$', got 'f'"],
    ['*1\r\n$x\r\n', 'invalid bulk length'],
    ['*1\r\n$-1\r\n', 'invalid bulk length'],
    ['*1\r\n$1048577\r\n', 'invalid bulk length'],
    ['*5\r\n$1048576\r\n', ''],
    ['get "a\r\n', 'unbalanced quotes in request'],
    ['get "a"b\r\n', 'unbalanced quotes in request'],
    [`${'x'.repeat(70_000)}`, 'too big inline request'],
    [`*${'1'.repeat(70_000)}`, 'too big mbulk count string'],
    [`*1\r\n$${'1'.repeat(70_000)}`, 'too big bulk count string'],
  ];
  for (const [stream, error] of cases)
    assert.equal(parse([bytes(stream)]).error ?? '', error, JSON.stringify(stream.slice(0, 30)));
});

test('all arguments of a command together are bounded', () => {
  const limits = { ...LIMITS, bulkBytesMax: 100, commandBytesMax: 150 };
  assert.equal(parse([bytes(encoded(['x'.repeat(100), 'y'.repeat(51)]))], limits).error, 'too big command');
  assert.equal(parse([bytes(encoded(['x'.repeat(100), 'y'.repeat(50)]))], limits).error, undefined);
});

test('who has not authenticated may send little', () => {
  assert.equal(parse([bytes('*11\r\n')], LIMITS, false).error, 'unauthenticated multibulk length');
  assert.equal(parse([bytes('*1\r\n$16385\r\n')], LIMITS, false).error, 'unauthenticated bulk length');
  assert.deepEqual(parse([bytes(encoded(['AUTH', 'x'.repeat(16_384)]))], LIMITS, false).commands.length, 1);
});

test('an announced argument takes no room before it comes', () => {
  const parser = new RespParser(LIMITS);
  parser.feed(bytes('*2\r\n$3\r\nSET\r\n$1000000\r\nabc'));
  assert.equal(parser.next(), RESP_NEEDS_MORE);
  assert.ok(parser.pendingBytes < 100, `${parser.pendingBytes} bytes`);
});

test('a name with a byte order mark is another name', () => {
  const parser = new RespParser({ argumentsMax: 10, bulkBytesMax: 100, commandBytesMax: 1000 });
  parser.feed(Buffer.from('*2\r\n$4\r\nHGET\r\n$6\r\n\ufeffpub\r\n'));
  assert.equal(parser.next(), 1);
  assert.equal(parser.command.text(1), '\ufeffpub');
});

test('a large buffer goes when nothing of it is pending, or little', () => {
  const parser = new RespParser(LIMITS);
  const large = encoded(['SET', 'k', 'x'.repeat(1 << 20)]);
  const feedHalves = (text: string): void => {
    parser.feed(bytes(text.slice(0, 1000)));
    assert.equal(parser.next(), RESP_NEEDS_MORE);
    parser.feed(bytes(text.slice(1000)));
    assert.equal(parser.next(), RESP_COMMAND);
    assert.equal(parser.next(), RESP_NEEDS_MORE);
  };
  feedHalves(large);
  assert.equal(parser.command.bytes.length, 0);
  feedHalves(`${large}*2\r\n$3\r\nGET\r\n$1`);
  assert.ok(parser.command.bytes.length <= 1024, `${parser.command.bytes.length} bytes kept`);
  parser.feed(bytes('\r\nk\r\n'));
  assert.equal(parser.next(), RESP_COMMAND);
  assert.deepEqual([parser.command.text(0), parser.command.text(1)], ['GET', 'k']);
  feedHalves(encoded(Array.from<string>({ length: 1000 }).fill('x'.repeat(100))));
  assert.ok(parser.command.starts.length <= 1024);
});

test('a byte that comes by itself behind a large argument costs no look at the whole buffer', () => {
  const parser = new RespParser({ ...LIMITS, bulkBytesMax: 16 << 20, commandBytesMax: 32 << 20 });
  const argument = bytes('x'.repeat(8 << 20));
  parser.feed(bytes(`*4\r\n$${argument.length}\r\n`));
  for (const chunk of [argument, bytes(`\r\n$${argument.length}\r\n`), argument, bytes('\r\n$')]) {
    parser.feed(chunk);
    assert.equal(parser.next(), RESP_NEEDS_MORE);
  }
  // A look at the whole buffer for each takes minutes.
  for (let count = 0; count < 50_000; count++) {
    parser.feed(bytes('0'));
    assert.equal(parser.next(), RESP_NEEDS_MORE);
  }
});
