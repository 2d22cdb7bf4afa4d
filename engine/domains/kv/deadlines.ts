/** Times to live: reading them from arguments, and EXPIRE, TTL and their relatives. */
import { type Call, type CommandSpec, KvError, reads, SYNTAX_ERROR, writes } from './command.ts';
import { INT64_MAX, INT64_MIN, integerArgument } from './numbers.ts';

/** Seconds or milliseconds, from now or since 1970. */
export interface TimeUnit {
  readonly perUnitMs: bigint;
  readonly isRelative: boolean;
}

export const UNITS: ReadonlyMap<string, TimeUnit> = new Map([
  ['ex', { perUnitMs: 1000n, isRelative: true }],
  ['px', { perUnitMs: 1n, isRelative: true }],
  ['exat', { perUnitMs: 1000n, isRelative: false }],
  ['pxat', { perUnitMs: 1n, isRelative: false }],
]);

/** The moment that argument `index` gives, in ms. Throws KvError when it is none, or not after 0. */
export function futureArgument(call: Call, index: number, unit: TimeUnit): number {
  const value = integerArgument(call, index);
  if (value <= 0n) throw invalidTime(call);
  return momentOf(call, value, unit);
}

function momentOf(call: Call, value: bigint, { perUnitMs, isRelative }: TimeUnit): number {
  if (value > INT64_MAX / perUnitMs || value < INT64_MIN / perUnitMs) throw invalidTime(call);
  const base = isRelative ? BigInt(call.nowMs) : 0n;
  if (value * perUnitMs > INT64_MAX - base) throw invalidTime(call);
  return Number(value * perUnitMs + base);
}

function invalidTime(call: Call): KvError {
  return new KvError(`ERR invalid expire time in '${call.name}' command`);
}

interface Conditions {
  nx: boolean;
  xx: boolean;
  gt: boolean;
  lt: boolean;
}

function conditionsOf(call: Call): Conditions {
  const conditions: Conditions = { nx: false, xx: false, gt: false, lt: false };
  for (let index = 3; index < call.args.count; index++) {
    const word = call.args.text(index);
    const name = word.toLowerCase();
    if (name !== 'nx' && name !== 'xx' && name !== 'gt' && name !== 'lt') throw new KvError(`ERR Unsupported option ${word}`);
    conditions[name] = true;
  }
  const { nx, xx, gt, lt } = conditions;
  if (nx && (xx || gt || lt)) throw new KvError('ERR NX and XX, GT or LT options at the same time are not compatible');
  if (gt && lt) throw new KvError('ERR GT and LT options at the same time are not compatible');
  return conditions;
}

function expire(call: Call, unit: TimeUnit): void {
  const { nx, xx, gt, lt } = conditionsOf(call);
  const moment = momentOf(call, integerArgument(call, 2), unit);
  const key = call.args.argument(1);
  const current = call.space.expiryOf(key);
  if (current === undefined) return call.out.integer(0);
  const never = Number.isNaN(current);
  if ((nx && !never) || (xx && never)) return call.out.integer(0);
  if ((gt && (never || moment <= current)) || (lt && !never && moment >= current)) return call.out.integer(0);
  if (moment <= call.nowMs) call.space.remove(key);
  else call.space.expire(key, moment);
  call.out.integer(1);
}

/** -2: no such key, -1: it does not expire. */
function timeToLive(call: Call, answer: (expiresAtMs: number) => number | bigint): void {
  const key = call.args.argument(1);
  const expiresAtMs = call.space.isHash(key) ? Number.NaN : call.space.expiryOf(key);
  if (expiresAtMs === undefined) call.out.integer(-2);
  else call.out.integer(Number.isNaN(expiresAtMs) ? -1 : answer(expiresAtMs));
}

function seconds(ms: number): number {
  return Math.floor((ms + 500) / 1000);
}

function persist(call: Call): void {
  const key = call.args.argument(1);
  const current = call.space.isHash(key) ? undefined : call.space.expiryOf(key);
  if (current === undefined || Number.isNaN(current)) return call.out.integer(0);
  call.space.expire(key, Number.NaN);
  call.out.integer(1);
}

/** GETEX: reads, and changes how long the key lives. */
function getExtended(call: Call): void {
  const { args, space, out } = call;
  let unit: TimeUnit | undefined;
  let isPersist = false;
  let at = 0;
  for (let index = 2; index < args.count; index++) {
    const word = args.text(index).toLowerCase();
    const named = UNITS.get(word);
    if (word === 'persist' && unit === undefined) isPersist = true;
    else if (named !== undefined && index + 1 < args.count && (unit ?? named) === named && !isPersist) {
      unit = named;
      index += 1;
      at = index;
    } else throw new KvError(SYNTAX_ERROR);
  }
  const key = args.argument(1);
  const stored = space.get(key);
  if (stored === undefined) return out.nil();
  const moment = unit === undefined ? Number.NaN : futureArgument(call, at, unit);
  const never = Number.isNaN(stored.expiresAtMs);
  out.bulk(stored.value);
  if (unit !== undefined) {
    if (!unit.isRelative && moment <= call.nowMs) space.remove(key);
    else space.expire(key, moment);
  } else if (isPersist && !never) space.expire(key, Number.NaN);
}

function unitOf(name: string): TimeUnit {
  const unit = UNITS.get(name);
  if (unit === undefined) throw new Error(`no unit of time ${name}`);
  return unit;
}

const FAST = ['fast'];

export const DEADLINE_COMMANDS: readonly CommandSpec[] = [
  writes('expire', -3, (call) => expire(call, unitOf('ex')), FAST),
  writes('pexpire', -3, (call) => expire(call, unitOf('px')), FAST),
  writes('expireat', -3, (call) => expire(call, unitOf('exat')), FAST),
  writes('pexpireat', -3, (call) => expire(call, unitOf('pxat')), FAST),
  reads('ttl', 2, (call) => timeToLive(call, (at) => seconds(Math.max(0, at - call.nowMs)))),
  reads('pttl', 2, (call) => timeToLive(call, (at) => Math.max(0, at - call.nowMs))),
  reads('expiretime', 2, (call) => timeToLive(call, seconds)),
  reads('pexpiretime', 2, (call) => timeToLive(call, (at) => (at >= Number(INT64_MAX) ? INT64_MAX : at))),
  writes('persist', 2, persist, FAST),
  writes('getex', -2, getExtended, FAST),
];
