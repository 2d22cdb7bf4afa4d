/**
 * Random sequences of commands over hashes, and of commands for strings at their names: what two servers are compared by.
 *
 * Hashes are maps of the grid, so what is refused on them on purpose is left out: EXPIRE, RENAME, and SET over one.
 */
import type { Random } from './random.ts';
import type { Command } from './redis-sequences.ts';

const HASHES = ['user:1', 'user:2', 'h', 'хэш'];
const STRING = 'a string';
const FIELDS = ['f', 'g', 'name', 'поле', '', 'with space'];
const VALUES: readonly (string | Buffer)[] = [
  '',
  '0',
  '5',
  '-3',
  '007',
  '1.5',
  '9223372036854775807',
  'text',
  '{"a":1}',
  '{"a": 1}',
  '[1,2,3]',
  'ключ 🌍',
  Buffer.from([0xff, 0, 1]),
];
const INCREMENTS = ['1', '-1', '10', '0', 'x', '1.5', '9223372036854775807', '-9223372036854775808'];

type Maker = (random: Random) => Command;

const anyHash = (random: Random): string => (random.below(12) === 0 ? STRING : random.pick(HASHES));
const anyField = (random: Random): string => random.pick(FIELDS);

function several<Item>(random: Random, most: number, make: () => Item): Item[] {
  return Array.from({ length: 1 + random.below(most) }, make);
}

const MAKERS: readonly Maker[] = [
  (random) => ['hset', anyHash(random), ...several(random, 3, () => [anyField(random), random.pick(VALUES)]).flat()],
  (random) => ['hset', anyHash(random), anyField(random), random.pick(VALUES)],
  (random) => ['hset', anyHash(random), anyField(random), random.pick(VALUES), anyField(random)],
  (random) => ['hget', anyHash(random), anyField(random)],
  (random) => ['hmget', anyHash(random), ...several(random, 3, () => anyField(random))],
  (random) => ['hdel', anyHash(random), ...several(random, 3, () => anyField(random))],
  (random) => ['hexists', anyHash(random), anyField(random)],
  (random) => ['hlen', anyHash(random)],
  (random) => ['hkeys', anyHash(random)],
  (random) => ['hvals', anyHash(random)],
  (random) => ['hgetall', anyHash(random)],
  (random) => ['hincrby', anyHash(random), anyField(random), random.pick(INCREMENTS)],
  (random) => ['hincrby', anyHash(random), anyField(random), random.pick(INCREMENTS)],
  (random) => ['del', random.pick(HASHES)],
  (random) => ['type', anyHash(random)],
  (random) => ['exists', anyHash(random), anyHash(random)],
  (random) => [random.pick(['get', 'incr', 'strlen', 'getdel']), random.pick(HASHES)],
  (random) => ['append', random.pick(HASHES), ''],
  (random) => ['set', STRING, random.pick(VALUES)],
  (random) => [random.pick(['hset', 'hget', 'hmget', 'hdel', 'hlen', 'hincrby', 'hgetall']), ...several(random, 2, () => 'h')],
];

/** A string where a hash was, which is refused while there is one. */
function stringInstead(random: Random): Command[] {
  const name = random.pick(HASHES);
  const ways: readonly Command[] = [
    ['set', name, random.pick(VALUES)],
    ['mset', name, random.pick(VALUES), STRING, random.pick(VALUES)],
    ['append', name, random.pick(VALUES)],
    ['copy', STRING, name],
  ];
  return [['del', name], random.pick(ways), ['hscan', STRING, '0']];
}

export function hashSequence(random: Random, commands: number): Command[] {
  const sequence: Command[] = [['del', STRING, ...HASHES], ['flushall'], ['set', STRING, 'v']];
  for (let index = 0; index < commands; index++) {
    if (random.below(10) === 0) sequence.push(...stringInstead(random));
    else sequence.push(random.pick(MAKERS)(random));
  }
  return sequence;
}

/** Replies in an order that Redis leaves open: elements, or pairs, of a hash. */
export function inOrder([name]: Command, reply: Buffer): Buffer {
  const step = name === 'hgetall' ? 2 : name === 'hkeys' || name === 'hvals' ? 1 : 0;
  if (step === 0 || !/^[*%]/.test(reply.toString('latin1', 0, 1))) return reply;
  const [head = '', ...parts] = reply.toString('latin1').split(/(?=\$\d+\r\n)/);
  const groups = Array.from({ length: parts.length / step }, (_, index) =>
    parts.slice(index * step, (index + 1) * step).join(''),
  );
  return Buffer.from(head + groups.sort().join(''), 'latin1');
}
