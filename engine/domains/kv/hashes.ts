/** Maps as hashes: a field is a record, and the same record that browsers and HTTP see. */
import { type Call, type CommandSpec, KvError, type Merge, WRONG_TYPE, wrongArguments } from './command.ts';
import { scanPairs } from './scan.ts';
import { INT64_MAX, INT64_MIN, integerArgument, integerOf, integerText } from './numbers.ts';
import type { KeySpace } from './space.ts';

/** The hash at position 1. Throws KvError where that is a key with a string. */
function hashOf(call: Call): KeySpace {
  const name = call.args.argument(1);
  if (!call.space.isHash(name) && call.space.has(name)) throw new KvError(WRONG_TYPE);
  return call.hash(name);
}

function set(call: Call): void {
  const { args } = call;
  if (args.count % 2 === 1) throw new KvError(wrongArguments(call.name));
  call.out.integer(hashOf(call).putPairs(args, 2));
}

function get(call: Call): void {
  const stored = hashOf(call).get(call.args.argument(2));
  if (stored === undefined) call.out.nil();
  else call.out.bulk(stored.value);
}

function multiGet(call: Call): void {
  const hash = hashOf(call);
  const { args, out } = call;
  out.array(args.count - 2);
  for (let index = 2; index < args.count; index++) {
    const stored = hash.get(args.argument(index));
    if (stored === undefined) out.nil();
    else out.bulk(stored.value);
  }
}

function remove(call: Call): void {
  const hash = hashOf(call);
  let removed = 0;
  for (let index = 2; index < call.args.count; index++) if (hash.remove(call.args.argument(index))) removed += 1;
  call.out.integer(removed);
}

function incrementBy(call: Call): void {
  const by = integerArgument(call, 3);
  const hash = hashOf(call);
  const field = call.args.argument(2);
  const stored = hash.get(field);
  const old = stored === undefined ? 0 : integerOf(stored.value);
  if (old === undefined) throw new KvError('ERR hash value is not an integer');
  const sum = BigInt(old) + by;
  if (sum > INT64_MAX || sum < INT64_MIN) throw new KvError('ERR increment or decrement would overflow');
  hash.set(field, integerText(sum), stored?.expiresAtMs ?? Number.NaN);
  call.out.integer(sum);
}

/** Fields and values, as far as asked for. */
function all(call: Call, withFields: boolean, withValues: boolean): void {
  const hash = hashOf(call);
  const fields: Uint8Array[] = [];
  hash.whole.visitAll((field) => fields.push(field.slice()) > 0);
  const { out } = call;
  if (withFields && withValues) out.map(fields.length);
  else out.array(fields.length);
  for (const field of fields) {
    if (withFields) out.bulk(field);
    if (!withValues) continue;
    const stored = hash.get(field);
    if (stored === undefined) out.nil();
    else out.bulk(stored.value);
  }
}

function ofField(name: string, arity: number, flags: readonly string[], run: (call: Call) => void): CommandSpec {
  return { name, arity, flags, keys: [1, 1, 1], route: 'field', fields: [2, 2, 1], run };
}

function ofFields(
  name: string,
  arity: number,
  flags: readonly string[],
  step: number,
  merge: Merge,
  run: (call: Call) => void,
): CommandSpec {
  return { name, arity, flags, keys: [1, 1, 1], route: 'fields', merge, fields: [2, -1, step], run };
}

function ofHash(name: string, merge: Merge, run: (call: Call) => void): CommandSpec {
  return { name, arity: 2, flags: ['readonly'], keys: [1, 1, 1], route: 'workers', merge, run };
}

const WRITE = ['write', 'denyoom', 'fast'];
const READ = ['readonly', 'fast'];

export const HASH_COMMANDS: readonly CommandSpec[] = [
  ofFields('hset', -4, WRITE, 2, 'sum', set),
  ofField('hget', 3, READ, get),
  ofFields('hmget', -3, READ, 1, 'slots', multiGet),
  ofFields('hdel', -3, ['write', 'fast'], 1, 'sum', remove),
  ofField('hexists', 3, READ, (call) => call.out.bool(hashOf(call).has(call.args.argument(2)))),
  ofField('hincrby', 4, WRITE, incrementBy),
  ofHash('hlen', 'sum', (call) => call.out.integer(hashOf(call).whole.size)),
  ofHash('hgetall', 'concat', (call) => all(call, true, true)),
  ofHash('hkeys', 'concat', (call) => all(call, true, false)),
  ofHash('hvals', 'concat', (call) => all(call, false, true)),
  { name: 'hscan', arity: -3, flags: ['readonly'], keys: [1, 1, 1], route: 'scan', run: (call) => scanPairs(call, hashOf) },
];
