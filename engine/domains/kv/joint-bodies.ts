/**
 * What a gateway and workers say to each other about an act over several workers (joint-service.ts), as bytes.
 *
 *   word   4 bytes, little-endian         number   8 bytes, a double         bytes   word length, then the bytes
 *
 * Both ends are this program: what is wrong is a bug.
 */
import { assert } from '../../assert.ts';
import { databaseNameLike } from './hash-names.ts';
import type { SpaceKey } from './touched-keys.ts';
import type { WholeAsk, WholeStep } from './whole-acts.ts';

/** Asks a worker to hold keys for an act, to say what they hold, and to run commands that read. */
export interface HoldAsk {
  readonly act: number;
  /** The act may write the keys. */
  readonly isExclusive: boolean;
  readonly isEverything: boolean;
  readonly keys: readonly SpaceKey[];
  /** Keys whose records are to be told. */
  readonly told: readonly SpaceKey[];
  /** Maps of which all live records are to be told. */
  readonly wholes: readonly Uint8Array[];
  /** Keys whose versions are to be told (WATCH). */
  readonly watched: readonly SpaceKey[];
  /** As command-batch.ts has them; empty: none. */
  readonly commands: Uint8Array;
  /** A change of whole databases that is to be made (whole-changes.ts); empty: none. */
  readonly change: Uint8Array;
}

/** What is stored under a key. */
export interface ToldKey extends SpaceKey {
  readonly isLive: boolean;
  /** The key is the name of a map with records. */
  readonly isHash: boolean;
  readonly value: Uint8Array;
  /** NaN: never. */
  readonly expiresAtMs: number;
  /** Stamp of the record, live or not; -1 where there is none. */
  readonly millis: number;
  readonly counter: number;
}

export interface HoldAnswer {
  /** '': the keys are held. */
  readonly refusal: string;
  readonly told: readonly ToldKey[];
  readonly versions: readonly string[];
  /** Names of maps with live records, where everything is held. */
  readonly hashNames: readonly Uint8Array[];
  /** Replies of the commands. */
  readonly replies: Uint8Array;
}

/** A record as it is to be stored: all is decided. */
export interface StampedWrite extends SpaceKey {
  /** MessagePack; of a removal nothing. */
  readonly value: Uint8Array;
  readonly isRemoval: boolean;
  readonly millis: number;
  readonly counter: number;
  /** NaN: it does not expire. */
  readonly ttlMs: number;
}

/** What an act writes at a worker. `others` are of other workers: for the log of the first only. */
export interface ActWrites {
  readonly act: number;
  readonly own: readonly StampedWrite[];
  readonly others: readonly StampedWrite[];
}

const EXCLUSIVE = 1;
const EVERYTHING = 2;
const LIVE = 1;
const HASH = 2;
const REMOVAL = 1;
const NO_BYTES = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export function encodeHold(ask: HoldAsk): Uint8Array {
  const out = new BodyWriter();
  out.number(ask.act);
  out.word((ask.isExclusive ? EXCLUSIVE : 0) | (ask.isEverything ? EVERYTHING : 0));
  out.bytes(ask.commands);
  out.bytes(ask.change);
  for (const keys of [ask.keys, ask.told, ask.watched]) out.list(keys, (key) => out.key(key));
  out.list(ask.wholes, (name) => out.bytes(name));
  return out.take();
}

export function decodeHold(body: Uint8Array): HoldAsk {
  const from = new BodyReader(body);
  const act = from.number();
  const flags = from.word();
  const commands = from.alignedBytes();
  const change = from.bytes();
  const [keys, told, watched] = [from.keys(), from.keys(), from.keys()];
  const wholes = from.list(() => from.bytes());
  return {
    act,
    isExclusive: (flags & EXCLUSIVE) !== 0,
    isEverything: (flags & EVERYTHING) !== 0,
    commands,
    change,
    keys,
    told,
    watched,
    wholes,
  };
}

export function encodeHoldAnswer(answer: HoldAnswer): Uint8Array {
  const out = new BodyWriter();
  out.bytes(encoder.encode(answer.refusal));
  out.list(answer.told, (told) => {
    out.key(told);
    out.word((told.isLive ? LIVE : 0) | (told.isHash ? HASH : 0));
    out.bytes(told.value);
    out.number(told.expiresAtMs);
    out.number(told.millis);
    out.number(told.counter);
  });
  out.list(answer.versions, (version) => out.bytes(encoder.encode(version)));
  out.list(answer.hashNames, (name) => out.bytes(name));
  out.bytes(answer.replies);
  return out.take();
}

export function decodeHoldAnswer(body: Uint8Array): HoldAnswer {
  const from = new BodyReader(body);
  return {
    refusal: decoder.decode(from.bytes()),
    told: from.list(() => toldKey(from)),
    versions: from.list(() => decoder.decode(from.bytes())),
    hashNames: from.list(() => from.bytes()),
    replies: from.alignedBytes(),
  };
}

function toldKey(from: BodyReader): ToldKey {
  const { space, key } = from.key();
  const flags = from.word();
  const value = from.bytes();
  const [expiresAtMs, millis, counter] = [from.number(), from.number(), from.number()];
  return { space, key, isLive: (flags & LIVE) !== 0, isHash: (flags & HASH) !== 0, value, expiresAtMs, millis, counter };
}

export function encodeWrites({ act, own, others }: ActWrites): Uint8Array {
  const out = new BodyWriter();
  out.number(act);
  for (const writes of [own, others]) {
    out.list(writes, (write) => {
      out.key(write);
      out.word(write.isRemoval ? REMOVAL : 0);
      out.bytes(write.value);
      out.number(write.millis);
      out.number(write.counter);
      out.number(write.ttlMs);
    });
  }
  return out.take();
}

export function decodeWrites(body: Uint8Array): ActWrites {
  const from = new BodyReader(body);
  const act = from.number();
  const [own, others] = [from.list(() => stampedWrite(from)), from.list(() => stampedWrite(from))];
  return { act, own, others };
}

function stampedWrite(from: BodyReader): StampedWrite {
  const { space, key } = from.key();
  const isRemoval = from.word() === REMOVAL;
  const value = from.bytes();
  const [millis, counter, ttlMs] = [from.number(), from.number(), from.number()];
  return { space, key, isRemoval, value, millis, counter, ttlMs };
}

/** The holds that a gateway has at a worker that was replaced; also `encodeRelease` with one act. */
export function encodeRoll(holds: readonly HoldAsk[]): Uint8Array {
  const out = new BodyWriter();
  out.list(holds, (hold) =>
    out.bytes(encodeHold({ ...hold, told: [], watched: [], wholes: [], commands: NO_BYTES, change: NO_BYTES })),
  );
  return out.take();
}

export function decodeRoll(body: Uint8Array): HoldAsk[] {
  const from = new BodyReader(body);
  return from.list(() => decodeHold(from.bytes()));
}

export function encodeAct(act: number): Uint8Array {
  const out = new BodyWriter();
  out.number(act);
  return out.take();
}

export function decodeAct(body: Uint8Array): number {
  return new BodyReader(body).number();
}

const STEPS: readonly WholeStep[] = ['decide', 'do', 'over'];

export function encodeWhole({ act, step, change }: WholeAsk): Uint8Array {
  const out = new BodyWriter();
  out.number(act);
  out.word(STEPS.indexOf(step));
  out.bytes(change);
  return out.take();
}

export function decodeWhole(body: Uint8Array): WholeAsk {
  const from = new BodyReader(body);
  const act = from.number();
  const step = STEPS[from.word()];
  assert(step !== undefined, 'a step of an act');
  return { act, step, change: from.bytes() };
}

class BodyWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  word(value: number): void {
    const at = this.#claim(4);
    this.#view.setUint32(at, value, true);
  }

  number(value: number): void {
    const at = this.#claim(8);
    this.#view.setFloat64(at, value, true);
  }

  bytes(value: Uint8Array): void {
    this.word(value.length);
    const at = this.#claim(value.length);
    this.#bytes.set(value, at);
  }

  key({ space, key }: SpaceKey): void {
    this.bytes(space);
    this.bytes(key);
  }

  list<Item>(items: readonly Item[], write: (item: Item) => void): void {
    this.word(items.length);
    for (const item of items) write(item);
  }

  take(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #claim(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(2 ** Math.ceil(Math.log2(this.#length)));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}

/** What it reads are views of one copy of the body: a copy of each name and value would cost far more than reading it. */
class BodyReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes.slice();
    this.#view = new DataView(this.#bytes.buffer);
  }

  word(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  number(): number {
    this.#at += 8;
    return this.#view.getFloat64(this.#at - 8, true);
  }

  bytes(): Uint8Array {
    const length = this.word();
    assert(this.#at + length <= this.#bytes.length, 'bytes that are there');
    this.#at += length;
    return length === 0 ? NO_BYTES : this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** A copy, at an address that words can be read from. */
  alignedBytes(): Uint8Array {
    return this.bytes().slice();
  }

  /** Name of a map: of a database the one array that all have. */
  space(): Uint8Array {
    const name = this.bytes();
    return databaseNameLike(name) ?? name;
  }

  key(): SpaceKey {
    return { space: this.space(), key: this.bytes() };
  }

  keys(): SpaceKey[] {
    return this.list(() => this.key());
  }

  list<Item>(read: () => Item): Item[] {
    const count = this.word();
    const items: Item[] = [];
    for (let index = 0; index < count; index++) items.push(read());
    return items;
  }
}
