import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RESP_COMMAND, RespCommand, RespParser } from '../../protocol/resp-parser.ts';
import { CommandBatchReader, CommandBatchWriter } from './command-batch.ts';

const LIMITS = { argumentsMax: 1000, bulkBytesMax: 1 << 20, commandBytesMax: 1 << 20 };

interface Told {
  readonly spec: number;
  readonly isResp3: boolean;
  readonly db: number;
  readonly keyHash: number;
  readonly words: readonly Uint8Array[];
}

const commands: fc.Arbitrary<Told[]> = fc.array(
  fc.record(
    {
      spec: fc.integer({ min: 0, max: 0xffff }),
      isResp3: fc.boolean(),
      db: fc.integer({ min: 0, max: 15 }),
      keyHash: fc.integer({ min: 0, max: 0xffff_ffff }),
      words: fc.array(fc.uint8Array({ maxLength: 80 }), { minLength: 1, maxLength: 5 }),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 40 },
);

test('commands come out as they went in, whoever of several requests got the ones between', () => {
  fc.assert(
    fc.property(commands, fc.array(fc.nat(2), { minLength: 1, maxLength: 7 }), fc.nat(40), (told, owners, cutAt) => {
      const writers = [new CommandBatchWriter(), new CommandBatchWriter(), new CommandBatchWriter()];
      const expected: Told[][] = [[], [], []];
      const parsers = [told.slice(0, cutAt), told.slice(cutAt)].map(parserOf);
      told.forEach((one, index) => {
        const owner = owners[index % owners.length] as number;
        const parser = parsers[index < cutAt ? 0 : 1] as RespParser;
        assert.equal(parser.next(), RESP_COMMAND);
        writers[owner]?.add(one.spec, one.isResp3, one.db, parser.command, one.keyHash);
        expected[owner]?.push(one);
      });
      assert.deepEqual(
        writers.map((writer) => commandsOf(writer.take())),
        expected,
      );
    }),
  );
});

test('what was told argument by argument stands between commands of one read', () => {
  const [first, second] = [
    ['GET', 'a'],
    ['GET', 'b'],
  ].map((words) => told(words));
  assert.ok(first !== undefined && second !== undefined);
  const parser = parserOf([first, second]);
  const writer = new CommandBatchWriter();
  parser.next();
  writer.add(1, false, 0, parser.command);
  writer.begin(2, true, 3, 2);
  writer.argument(Buffer.from('xDELx'), 1, 3);
  writer.argument(new Uint8Array(0), 0, 0);
  writer.end();
  parser.next();
  writer.add(1, false, 0, parser.command);
  const expected = [first, { ...told(['DEL', '']), spec: 2, isResp3: true, db: 3 }, second];
  assert.deepEqual(commandsOf(writer.view()), expected);
  assert.deepEqual(commandsOf(writer.take()), expected);
  assert.equal(writer.count, 0);
  writer.begin(4, false, 0, 0);
  writer.end();
  assert.deepEqual(commandsOf(writer.take()), [{ ...told([]), spec: 4 }]);
});

test('a command that is gone back to comes again', () => {
  const writer = new CommandBatchWriter();
  const parser = parserOf([told(['GET', 'a']), told(['GET', 'b'])]);
  for (let index = 0; index < 2; index++) {
    parser.next();
    writer.add(1, false, 0, parser.command);
  }
  const reader = new CommandBatchReader(writer.take());
  const command = new RespCommand();
  const keys = [0, 1, 1].map((_, step) => {
    if (step === 2) reader.back();
    reader.next(command);
    return command.text(1);
  });
  assert.deepEqual(keys, ['a', 'b', 'b']);
});

function told(words: readonly string[]): Told {
  return { spec: 1, isResp3: false, db: 0, keyHash: 0, words: words.map((word) => Uint8Array.from(Buffer.from(word))) };
}

/** Has read these commands as a client sends them. */
function parserOf(all: readonly Told[]): RespParser {
  const parser = new RespParser(LIMITS);
  const parts: Uint8Array[] = [];
  for (const { words } of all) {
    parts.push(Buffer.from(`*${words.length}\r\n`));
    for (const word of words) parts.push(Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n'));
  }
  parser.feed(Buffer.concat(parts));
  return parser;
}

function commandsOf(body: Uint8Array): Told[] {
  const reader = new CommandBatchReader(body);
  const command = new RespCommand();
  return Array.from({ length: reader.count }, () => {
    reader.next(command);
    const words = Array.from({ length: command.count }, (_, index) => command.argument(index).slice());
    return { spec: reader.spec, isResp3: reader.isResp3, db: reader.db, keyHash: command.keyHash, words };
  });
}
