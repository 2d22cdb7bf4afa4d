/**
 * Random sequences of Redis commands over few keys and awkward values, the same for a seed: what two servers are compared by.
 *
 * Left out is what may differ on purpose (README, "Redis clients") and what depends on time or chance.
 */
import type { Random } from './random.ts';

export type Command = readonly (string | Buffer)[];

const KEYS = ['a', 'b', 'c', 'key:1', 'key:{x}', 'ключ', '', 'with space'];
const VALUES: readonly (string | Buffer)[] = [
  '',
  '0',
  '1',
  '-1',
  '007',
  ' 5',
  '5 ',
  '+5',
  '-0',
  '10',
  '9223372036854775807',
  '-9223372036854775808',
  '9223372036854775806',
  '3.14',
  '1e3',
  '0.1',
  '5.0e3',
  'hello',
  'Hello, world',
  'foobar',
  'naïve ключ 🌍',
  '{"a":1}',
  '{"a": 1}',
  '{"b":[1,2,{"c":null}],"a":"x"}',
  '[1,2,3]',
  '[1.0]',
  '{"__proto__":{"x":1}}',
  '{"2":1,"1":2}',
  'x'.repeat(50),
  'abcdefghij'.repeat(30),
  Buffer.from([0, 1, 2, 255, 254]),
  Buffer.from([0xff]),
  Buffer.from([0xed, 0xa0, 0x80]),
  'a\r\nb',
];
const INTEGERS = [
  '0',
  '1',
  '-1',
  '2',
  '-2',
  '5',
  '10',
  '100',
  '-100',
  '9223372036854775807',
  '-9223372036854775808',
  'abc',
  '1.5',
  '',
  ' 1',
  '9223372036854775808',
];
const INDEXES = ['0', '1', '-1', '2', '-2', '3', '7', '8', '-8', '100', '-100', 'x'];
/** Far ahead, so that neither server sees one pass while the other does not. */
const SECONDS = ['100', '1000', '100000', '0', '-1', 'abc', '9223372036854775807', '1.5'];
const FLOATS = ['0.1', '0.2', '1', '-1', '3.0e3', '1e2', '1.5', '-0.5', '100.25', 'abc', '', '12345.678', '0.000001'];

type Maker = (random: Random) => Command;

const anyKey = (random: Random): string => random.pick(KEYS);
const anyValue = (random: Random): string | Buffer => random.pick(VALUES);

/** Up to `most` of them. */
function several<Item>(random: Random, most: number, make: () => Item): Item[] {
  return Array.from({ length: 1 + random.below(most) }, make);
}

function mixedCase(random: Random, word: string): string {
  return random.below(4) === 0 ? word : random.below(2) === 0 ? word.toUpperCase() : word.charAt(0) + word.slice(1).toUpperCase();
}

/** Told apart from all others by more than a server is late. */
function ownSeconds(random: Random): string {
  return String(10 * (20 + random.below(1_000_000)));
}

function setCommand(random: Random): Command {
  const words: (string | Buffer)[] = ['set', anyKey(random), anyValue(random)];
  const options: Maker[] = [
    () => ['nx'],
    () => ['xx'],
    () => ['get'],
    () => ['keepttl'],
    () => ['ex', random.pick(SECONDS)],
    () => ['px', random.pick(['100000', '1000000', '0', 'abc'])],
    () => ['exat', random.pick(['9999999999', 'x'])],
    () => ['pxat', random.pick(['9999999999999', '-5'])],
    () => ['nonsense'],
    () => ['ex'],
  ];
  while (random.below(2) === 0 && words.length < 8) words.push(...random.pick(options)(random));
  return words;
}

const MAKERS: readonly Maker[] = [
  (random) => ['get', anyKey(random)],
  (random) => ['get', anyKey(random)],
  setCommand,
  setCommand,
  (random) => ['set', anyKey(random), anyValue(random)],
  (random) => ['getset', anyKey(random), anyValue(random)],
  (random) => ['getdel', anyKey(random)],
  (random) => [
    'getex',
    anyKey(random),
    ...random.pick([
      [],
      ['persist'],
      ['ex', random.pick(SECONDS)],
      ['pxat', '1'],
      ['ex'],
      ['persist', 'ex', '5'],
      ['exat', '9999999999'],
    ]),
  ],
  (random) => ['setnx', anyKey(random), anyValue(random)],
  (random) => ['setex', anyKey(random), random.pick(SECONDS), anyValue(random)],
  (random) => ['psetex', anyKey(random), random.pick(['100000', '0', 'x']), anyValue(random)],
  (random) => ['mset', ...several(random, 3, () => [anyKey(random), anyValue(random)]).flat()],
  (random) => ['mset', anyKey(random), anyValue(random), anyKey(random)],
  (random) => ['msetnx', ...several(random, 3, () => [anyKey(random), anyValue(random)]).flat()],
  (random) => ['mget', ...several(random, 4, () => anyKey(random))],
  (random) => ['append', anyKey(random), anyValue(random)],
  (random) => ['strlen', anyKey(random)],
  (random) => ['getrange', anyKey(random), random.pick(INDEXES), random.pick(INDEXES)],
  (random) => ['setrange', anyKey(random), random.pick(['0', '1', '5', '20', '-1', 'x']), anyValue(random)],
  (random) => ['incr', anyKey(random)],
  (random) => ['decr', anyKey(random)],
  (random) => ['incrby', anyKey(random), random.pick(INTEGERS)],
  (random) => ['decrby', anyKey(random), random.pick(INTEGERS)],
  (random) => ['incrbyfloat', anyKey(random), random.pick(FLOATS)],
  (random) => [
    'lcs',
    anyKey(random),
    anyKey(random),
    ...random.pick([[], ['len'], ['idx'], ['idx', 'withmatchlen'], ['idx', 'minmatchlen', '2'], ['len', 'idx'], ['nope']]),
  ],
  (random) => ['setbit', anyKey(random), random.pick(['0', '1', '7', '8', '100', '-1', 'x']), random.pick(['0', '1', '2', 'x'])],
  (random) => ['getbit', anyKey(random), random.pick(['0', '1', '7', '8', '100', '1000', '-1', 'x'])],
  (random) => [
    'bitcount',
    anyKey(random),
    ...random.pick([
      [],
      [random.pick(INDEXES), random.pick(INDEXES)],
      [random.pick(INDEXES), random.pick(INDEXES), random.pick(['bit', 'byte', 'BIT', 'nope'])],
      ['0'],
    ]),
  ],
  (random) => [
    'bitpos',
    anyKey(random),
    random.pick(['0', '1', '2', 'x']),
    ...random.pick([
      [],
      [random.pick(INDEXES)],
      [random.pick(INDEXES), random.pick(INDEXES)],
      [random.pick(INDEXES), random.pick(INDEXES), random.pick(['bit', 'byte', 'nope'])],
    ]),
  ],
  (random) => [
    'bitop',
    random.pick(['and', 'or', 'xor', 'not', 'NOT', 'nope']),
    anyKey(random),
    ...several(random, 3, () => anyKey(random)),
  ],
  (random) => ['del', ...several(random, 3, () => anyKey(random))],
  (random) => ['unlink', ...several(random, 3, () => anyKey(random))],
  (random) => ['exists', ...several(random, 4, () => anyKey(random))],
  (random) => ['touch', ...several(random, 4, () => anyKey(random))],
  (random) => ['type', anyKey(random)],
  (random) => [
    'expire',
    anyKey(random),
    random.pick(SECONDS),
    ...random.pick([[], ['nx'], ['xx'], ['nx', 'gt'], ['gt', 'lt'], ['nope']]),
  ],
  (random) => ['expire', anyKey(random), ownSeconds(random), ...random.pick([['gt'], ['lt'], ['xx', 'gt']])],
  (random) => ['pexpire', anyKey(random), random.pick(['100000', '500000000', '-5', 'x'])],
  (random) => ['pexpire', anyKey(random), `${ownSeconds(random)}000`, random.pick(['gt', 'lt'])],
  (random) => ['expireat', anyKey(random), random.pick(['9999999999', '1', 'x', '-1'])],
  (random) => ['pexpireat', anyKey(random), random.pick(['9999999999999', '1', 'x'])],
  (random) => ['ttl', anyKey(random)],
  (random) => ['expiretime', random.pick(['no such', 'never'])],
  (random) => ['persist', anyKey(random)],
  (random) => ['rename', anyKey(random), anyKey(random)],
  (random) => ['renamenx', anyKey(random), anyKey(random)],
  (random) => [
    'copy',
    anyKey(random),
    anyKey(random),
    ...random.pick([[], ['replace'], ['db', '1'], ['db', '1', 'replace'], ['db', '99'], ['db', 'x'], ['nope']]),
  ],
  (random) => ['move', anyKey(random), random.pick(['0', '1', '2', '99', 'x'])],
  () => ['dbsize'],
  (random) => ['select', random.pick(['0', '0', '0', '1', '15', '16', '-1', 'x'])],
  (random) => ['swapdb', random.pick(['0', '1', '2', '99', 'x']), random.pick(['0', '1', '2', 'y'])],
  (random) => ['ping', ...random.pick([[], ['hi'], ['a', 'b']])],
  (random) => ['echo', anyValue(random)],
  (random) => [random.pick(['nosuch', 'FOO', 'lpush', 'zadd', 'sadd'].slice(0, 2)), ...several(random, 3, () => anyKey(random))],
  (random) => [random.pick(['get', 'set', 'incr', 'mget', 'expire', 'getrange', 'hset'])],
  (random) => ['object', 'refcount', random.pick(['no such', 'never'])],
  (random) => ['scan', random.pick(['x', '1.5'])],
  () => ['flushdb'],
];

/** One sequence: it begins with empty databases. */
export function redisSequence(random: Random, commands: number): Command[] {
  const sequence: Command[] = [['flushall'], ['select', '0']];
  for (let index = 0; index < commands; index++) {
    const [name = '', ...args] = random.pick(MAKERS)(random);
    if (name === 'flushdb' && random.below(4) > 0) continue;
    sequence.push([mixedCase(random, String(name)), ...args]);
  }
  sequence.push(['select', '0']);
  for (const key of KEYS) sequence.push(['get', key], ['ttl', key]);
  return sequence;
}

/** A sequence with transactions in it, some of them spoilt, watched, or ended by DISCARD. */
export function transactionSequence(random: Random, transactions: number): Command[] {
  const sequence: Command[] = [['flushall'], ['select', '0']];
  const add = (most: number): void => {
    for (let left = random.below(most + 1); left > 0; left--) {
      const command = random.pick(MAKERS)(random);
      if (!isOfTheMoment(command)) sequence.push(command);
    }
  };
  for (let index = 0; index < transactions; index++) {
    add(4);
    if (random.below(2) === 0) sequence.push(['watch', ...several(random, 3, () => anyKey(random))]);
    if (random.below(4) === 0) add(2);
    if (random.below(8) === 0) sequence.push(['unwatch']);
    if (random.below(16) > 0) sequence.push(['multi']);
    add(6);
    for (const odd of [['multi'], ['watch', 'a'], ['unwatch'], ['nosuch'], ['get']])
      if (random.below(16) === 0) sequence.push(odd);
    add(2);
    sequence.push([random.pick(['exec', 'exec', 'exec', 'EXEC', 'discard'])]);
  }
  sequence.push(['select', '0']);
  for (const key of KEYS) sequence.push(['get', key]);
  return sequence;
}

/** Answered by how much time has passed since another command. */
function isOfTheMoment(command: Command): boolean {
  return command[0] === 'ttl';
}
