/**
 * The keys that workers act on together, as a gateway was told them: commands run on them here, and what they write is collected.
 *
 *   told (HOLD) ─▶ JointKeys ─ commands run ─▶ writes, one a record, stamped behind what is stored ─▶ COMMIT, APPLY
 *
 * A command that needs a record which was not told throws NeedsMore: the act lets all go and begins anew, asking for that, too.
 */
import { assert } from '../../assert.ts';
import { RespCommand } from '../../protocol/resp-parser.ts';
import { RespWriter } from '../../protocol/resp-writer.ts';
import { type Call, type CommandSpec, KvError, WRONG_TYPE } from './command.ts';
import { databaseName, isDatabaseName } from './hash-names.ts';
import type { StampedWrite, ToldKey } from './joint-bodies.ts';
import {
  IDENTITY_BYTES_MAX,
  KEY_TOO_LONG,
  type KeySpace,
  StoredValue,
  TOO_LONG,
  VALUE_BYTES_MAX,
  type WholeSpace,
} from './space.ts';
import { nameOf, type SpaceKey } from './touched-keys.ts';
import { encodeValue, VALUE_HEADER_BYTES } from './value.ts';
import { runChange, type WholeChange } from './whole-changes.ts';

/** What an act must be told beside what it was. */
export class NeedsMore extends Error {
  override readonly name = 'NeedsMore';
  readonly keys: readonly SpaceKey[];
  /** All of a map. Neither keys nor map: to write. */
  readonly whole: Uint8Array | undefined;

  constructor(keys: readonly SpaceKey[], whole: Uint8Array | undefined) {
    super('the act was not told all that it needs');
    this.keys = keys;
    this.whole = whole;
  }
}

/** What an act would write is too large for one record of a ring, and one frame of a log. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge';
}

export const WRITTEN_BYTES_MAX = 32 << 20;
/** Of a record that is written, beside its names and value. */
const WRITTEN_RECORD_BYTES = 64;

export function bytesWritten({ space, key, value }: SpaceKey & { readonly value: Uint8Array }): number {
  return space.length + key.length + value.length + WRITTEN_RECORD_BYTES;
}

interface JointRecord {
  readonly space: Uint8Array;
  readonly key: Uint8Array;
  readonly isHash: boolean;
  readonly millis: number;
  readonly counter: number;
  isLive: boolean;
  value: Uint8Array;
  expiresAtMs: number;
  isWritten: boolean;
}

const COUNTER_MAX = 0xffff_ffff;
const NO_BYTES = new Uint8Array(0);
const latin1 = new TextDecoder('latin1');

/** All that an act was told. */
export class JointKeys {
  readonly nowMs: number;
  readonly #records = new Map<string, JointRecord>();
  /** By the name of their map. */
  readonly #bySpace = new Map<string, JointRecord[]>();
  readonly #wholes: ReadonlySet<string>;
  #lastRecords: JointRecord[] | undefined;
  #writtenBytes = 0;

  constructor(told: readonly ToldKey[], wholes: readonly Uint8Array[], nowMs: number) {
    this.nowMs = nowMs;
    this.#wholes = new Set(wholes.map((name) => latin1.decode(name)));
    for (const one of told) this.#add(one);
  }

  /** The record of a key. Throws NeedsMore. */
  at(key: SpaceKey): JointRecord {
    const known = this.#records.get(nameOf(key));
    if (known !== undefined) return known;
    throw new NeedsMore([{ space: key.space.slice(), key: key.key.slice() }], undefined);
  }

  /** Gives a record a value. Throws TooLarge, before it copies it. */
  write(record: JointRecord, value: Uint8Array, expiresAtMs: number): void {
    this.#writtenBytes += bytesWritten({ ...record, value }) - (record.isWritten ? bytesWritten(record) : 0);
    if (this.#writtenBytes > WRITTEN_BYTES_MAX) throw new TooLarge();
    record.value = value.slice();
    record.expiresAtMs = expiresAtMs;
    record.isLive = true;
    record.isWritten = true;
  }

  /** Throws NeedsMore for those of the keys that were not told. */
  assertTold(keys: readonly SpaceKey[]): void {
    const untold = keys.filter((key) => !this.#records.has(nameOf(key)));
    if (untold.length > 0) throw new NeedsMore(untold, undefined);
  }

  /** Live records of a map of which all were told. Throws NeedsMore. */
  allOf(space: Uint8Array): JointRecord[] {
    const name = latin1.decode(space);
    if (!this.#wholes.has(name)) throw new NeedsMore([], space.slice());
    return (this.#bySpace.get(name) ?? []).filter(({ isLive }) => isLive);
  }

  /** True when all records of the map were told. */
  isWhole(name: Uint8Array): boolean {
    return this.#wholes.has(latin1.decode(name));
  }

  /** What is known says that the map has records. */
  isHash(name: Uint8Array): boolean {
    if (isDatabaseName(name)) return false;
    return this.#bySpace.get(latin1.decode(name))?.some(({ isLive }) => isLive) ?? false;
  }

  /** Keys of databases under which there is no string, behind what the act has written. */
  absent(): SpaceKey[] {
    return [...this.#records.values()].filter(({ space, isLive }) => !isLive && isDatabaseName(space));
  }

  /** What the act has written. */
  writes(): StampedWrite[] {
    const writes: StampedWrite[] = [];
    for (const record of this.#records.values()) if (record.isWritten) writes.push(this.#stamped(record));
    return writes;
  }

  #add({ space, key, isHash, millis, counter, isLive, value, expiresAtMs }: ToldKey): void {
    const name = nameOf({ space, key });
    if (this.#records.has(name)) return;
    const record: JointRecord = { space, key, isHash, millis, counter, isLive, value, expiresAtMs, isWritten: false };
    this.#records.set(name, record);
    const others = this.#recordsOf(space);
    if (others === undefined) this.#bySpace.set(latin1.decode(space), [record]);
    else others.push(record);
  }

  /** In a row the same map is asked for, mostly. */
  #recordsOf(space: Uint8Array): JointRecord[] | undefined {
    if (this.#lastRecords !== undefined && this.#lastRecords[0]?.space === space) return this.#lastRecords;
    this.#lastRecords = this.#bySpace.get(latin1.decode(space));
    return this.#lastRecords;
  }

  /** Now, but strictly after the stored record. */
  #stamped({ space, key, isLive, value, expiresAtMs, millis, counter }: JointRecord): StampedWrite {
    const stamp = { millis: Math.floor(this.nowMs), counter: 0 };
    if (millis >= stamp.millis) {
      const overflows = counter === COUNTER_MAX;
      stamp.millis = overflows ? Math.floor(millis) + 1 : millis;
      stamp.counter = overflows ? 0 : counter + 1;
    }
    const encoded = isLive ? encodedValue(value) : NO_BYTES;
    return { space, key, isRemoval: !isLive, value: encoded, ...stamp, ttlMs: isLive ? expiresAtMs - stamp.millis : Number.NaN };
  }
}

function encodedValue(value: Uint8Array): Uint8Array {
  const target = new Uint8Array(VALUE_HEADER_BYTES + value.length);
  const encoded = encodeValue(value, target, 0);
  return typeof encoded === 'number' ? target.subarray(0, encoded) : encoded;
}

/** A database, or a map as a hash, as far as it was told. */
class JointSpace implements KeySpace, WholeSpace {
  readonly whole: WholeSpace = this;
  readonly #keys: JointKeys;
  readonly #name: Uint8Array;
  readonly #isDatabase: boolean;

  constructor(keys: JointKeys, name: Uint8Array) {
    this.#keys = keys;
    this.#name = name;
    this.#isDatabase = isDatabaseName(name);
  }

  isHash(key: Uint8Array): boolean {
    if (!this.#isDatabase || this.#isTooLong(key)) return false;
    return this.#keys.isHash(key) || (this.#at(key).isHash && !this.#keys.isWhole(key));
  }

  get(key: Uint8Array): StoredValue | undefined {
    const record = this.#live(key);
    if (record === undefined) return undefined;
    const stored = new StoredValue();
    stored.source = record.value;
    stored.length = record.value.length;
    stored.expiresAtMs = record.expiresAtMs;
    return stored;
  }

  at(args: RespCommand, index: number): StoredValue | undefined {
    return this.get(args.argument(index));
  }

  has(key: Uint8Array): boolean {
    return this.#live(key) !== undefined;
  }

  expiryOf(key: Uint8Array): number | undefined {
    return this.#live(key)?.expiresAtMs;
  }

  set(key: Uint8Array, value: Uint8Array, expiresAtMs: number): void {
    this.#assertTakes(key, value);
    this.#keys.write(this.#at(key), value, expiresAtMs);
  }

  #assertTakes(key: Uint8Array, value: Uint8Array): void {
    if (value.length > VALUE_BYTES_MAX) throw new KvError(TOO_LONG);
    if (key.length + this.#name.length > IDENTITY_BYTES_MAX) throw new KvError(KEY_TOO_LONG);
    this.#checkType(key);
  }

  put(args: RespCommand, index: number, source: Uint8Array, start: number, length: number, expiresAtMs: number): void {
    this.set(args.argument(index), source.subarray(start, start + length), expiresAtMs);
  }

  putPairs(args: RespCommand, first: number): number {
    for (let index = first; index < args.count; index += 2) this.#assertTakes(args.argument(index), args.argument(index + 1));
    let added = 0;
    for (let index = first; index < args.count; index += 2) {
      if (!this.has(args.argument(index))) added += 1;
      this.set(args.argument(index), args.argument(index + 1), Number.NaN);
    }
    return added;
  }

  expire(key: Uint8Array, expiresAtMs: number): void {
    const record = this.#live(key);
    assert(record !== undefined, 'a key that is there');
    record.expiresAtMs = expiresAtMs;
    record.isWritten = true;
  }

  remove(key: Uint8Array): boolean {
    const record = this.#live(key);
    if (record === undefined) return false;
    record.isLive = false;
    record.isWritten = true;
    return true;
  }

  get size(): number {
    return this.#all().length;
  }

  get expiring(): number {
    return this.#all().filter(({ expiresAtMs }) => !Number.isNaN(expiresAtMs)).length;
  }

  visitAll(visit: (key: Uint8Array) => boolean): void {
    for (const { key } of this.#all()) if (!visit(key)) return;
  }

  random(random: number): Uint8Array | undefined {
    const all = this.#all();
    return all[Math.floor(random * all.length)]?.key;
  }

  clear(): void {
    for (const record of this.#all()) this.remove(record.key);
  }

  /** All in one step, whatever the limit: the act has them all at hand. */
  scan(_cursor: number, _limit: number, visit: (key: Uint8Array) => void): number {
    for (const { key } of this.#all()) visit(key);
    return 0;
  }

  /** Throws KvError when the other database does not take all that is here, NeedsMore when not all of it was told. */
  assertMovable(to: JointSpace): void {
    const all = this.#all();
    to.#all(); // first as a whole: what is untold then holds nothing
    this.#keys.assertTold(all.map(({ key }) => ({ space: to.#name, key })));
    for (const { key, value } of all) to.#assertTakes(key, value);
  }

  #at(key: Uint8Array): JointRecord {
    return this.#keys.at({ space: this.#name, key });
  }

  /** It is not there, and no act is told of it. */
  #isTooLong(key: Uint8Array): boolean {
    return key.length > IDENTITY_BYTES_MAX || this.#name.length > IDENTITY_BYTES_MAX;
  }

  #live(key: Uint8Array): JointRecord | undefined {
    if (this.#isTooLong(key)) return undefined;
    this.#checkType(key);
    const record = this.#at(key);
    return record.isLive && !(record.expiresAtMs < this.#keys.nowMs) ? record : undefined;
  }

  #checkType(key: Uint8Array): void {
    if (this.isHash(key)) throw new KvError(WRONG_TYPE);
  }

  #all(): JointRecord[] {
    return this.#name.length > IDENTITY_BYTES_MAX ? [] : this.#keys.allOf(this.#name);
  }
}

/** Runs commands over the keys that an act was told. */
export class JointRunner implements Call {
  args = new RespCommand();
  name = '';
  readonly out = new RespWriter();
  db = 0;
  readonly #keys: JointKeys;
  readonly #hashNames: readonly Uint8Array[];
  readonly #random: () => number;

  constructor(keys: JointKeys, hashNames: readonly Uint8Array[], random: () => number) {
    this.#keys = keys;
    this.#hashNames = hashNames;
    this.#random = random;
  }

  get nowMs(): number {
    return this.#keys.nowMs;
  }

  /** The reply of the command. Throws NeedsMore, and ReplyTooLarge where it is longer than `out` may be. */
  run(spec: CommandSpec, args: RespCommand, db: number, isResp3: boolean): Uint8Array {
    const { out } = this;
    out.reset();
    out.isResp3 = isResp3;
    this.args = args;
    this.name = spec.name;
    this.db = db;
    try {
      assert(spec.run !== undefined, `${spec.name} is a command of workers`);
      spec.run(this);
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      out.reset();
      out.error(error.message);
    }
    return out.bytes.slice(0, out.length);
  }

  get space(): JointSpace {
    return this.spaceOf(this.db);
  }

  spaceOf(db: number): JointSpace {
    return new JointSpace(this.#keys, databaseName(db));
  }

  hash(name: Uint8Array): JointSpace {
    return new JointSpace(this.#keys, name.slice());
  }

  change(change: WholeChange): void {
    const [first, second] = change.databases.map((db) => this.spaceOf(db));
    if (change.kind === 'swap' && first !== undefined && second !== undefined) {
      first.assertMovable(second);
      second.assertMovable(first);
    }
    runChange(change, this);
  }

  versionOf(): string {
    throw new KvError('ERR versions are told by workers');
  }

  hashNames(): Uint8Array[] {
    return [...this.#hashNames];
  }

  random(): number {
    return this.#random();
  }
}
