/**
 * For tests: MessagePack as no single encoder writes it. Every width of header and number that fits is used, maps have
 * any order of keys and repeated ones. What it writes is well formed; a seed tells what. A plain `Random` takes the
 * shortest widths instead, as encoders do, and makes rare things rarer, so that the short ways of readers are tried too.
 */
import { fmix32 } from '../partition/hash.ts';

/** A map as a list, so that it can repeat keys. */
export class Pairs {
  readonly entries: readonly (readonly [unknown, unknown])[];

  constructor(entries: readonly (readonly [unknown, unknown])[]) {
    this.entries = entries;
  }
}

/** Random numbers from a seed (Marsaglia's xorshift32). */
export class Random {
  /** True for every other seed. */
  readonly plain: boolean;
  #state: number;

  constructor(seed: number) {
    this.#state = fmix32(seed + 0x9e3779b9) || 1; // neighbouring seeds are not to begin alike
    this.plain = this.below(2) === 0;
  }

  /** An integer in 0..count-1. */
  below(count: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % count;
  }

  /** True once in `oneIn` times; in a plain run, what is rare is rarer still. */
  chance(oneIn: number): boolean {
    return this.below(this.plain && oneIn > 3 ? oneIn * 4 : oneIn) === 0;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  shuffle<Item>(items: readonly Item[]): Item[] {
    const left = [...items];
    const shuffled: Item[] = [];
    while (left.length > 0) shuffled.push(...left.splice(this.below(left.length), 1));
    return shuffled;
  }
}

/** Encodes null, booleans, numbers, strings, Uint8Array, arrays, Pairs and plain objects. */
export function encodeWild(value: unknown, random: Random): Uint8Array {
  const out: number[] = [];
  append(out, value, random);
  return Uint8Array.from(out);
}

function append(out: number[], value: unknown, random: Random): void {
  if (value === null || value === undefined) out.push(0xc0);
  else if (typeof value === 'boolean') out.push(value ? 0xc3 : 0xc2);
  else if (typeof value === 'number') appendNumber(out, value, random);
  else if (typeof value === 'string') appendString(out, value, random);
  else if (value instanceof Uint8Array) appendBytes(out, value, random);
  else if (Array.isArray(value)) {
    appendCount(out, value.length, 0x90, 0xdc, random);
    for (const item of value) append(out, item, random);
  } else {
    const entries = value instanceof Pairs ? value.entries : Object.entries(value);
    appendCount(out, entries.length, 0x80, 0xde, random);
    for (const [key, item] of entries) {
      append(out, key, random);
      append(out, item, random);
    }
  }
}

function appendCount(out: number[], count: number, fix: number, token16: number, random: Random): void {
  const width = random.plain ? 0 : random.below(4);
  if (count < 16 && width < 2) out.push(fix | count);
  else if (width < 3) out.push(token16, ...bigEndian(count, 2));
  else out.push(token16 + 1, ...bigEndian(count, 4));
}

function appendString(out: number[], text: string, random: Random): void {
  const bytes = new TextEncoder().encode(text);
  const width = random.plain ? 0 : random.below(6);
  if (bytes.length < 32 && width < 3) out.push(0xa0 | bytes.length, ...bytes);
  else if (bytes.length < 256 && width < 4) out.push(0xd9, bytes.length, ...bytes);
  else if (width < 5) out.push(0xda, ...bigEndian(bytes.length, 2), ...bytes);
  else out.push(0xdb, ...bigEndian(bytes.length, 4), ...bytes);
}

function appendBytes(out: number[], bytes: Uint8Array, random: Random): void {
  const width = random.plain ? 0 : random.below(3);
  if (width === 0 && bytes.length < 256) out.push(0xc4, bytes.length, ...bytes);
  else if (width < 2) out.push(0xc5, ...bigEndian(bytes.length, 2), ...bytes);
  else out.push(0xc6, ...bigEndian(bytes.length, 4), ...bytes);
}

/** All forms that hold the number exactly; one of them is taken. */
function appendNumber(out: number[], value: number, random: Random): void {
  const forms: number[][] = [[0xcb, ...float(value, 8)]];
  if (Object.is(Math.fround(value), value)) forms.push([0xca, ...float(value, 4)]);
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    if (value >= 0) forms.push(...unsignedForms(value));
    if (value <= 0x7fff_ffff) forms.push(...signedForms(value));
  }
  const shortest = forms.reduce((best, form) => (form.length < best.length ? form : best));
  const isLong = Math.abs(value) >= 2 ** 31; // a timestamp: float64 from the client, uint64 from others
  out.push(...(random.plain && !isLong ? shortest : random.pick(forms)));
}

function unsignedForms(value: number): number[][] {
  const forms = [[0xcf, ...bigEndian(value, 8)]];
  if (value < 0x80) forms.push([value]);
  if (value < 2 ** 8) forms.push([0xcc, value]);
  if (value < 2 ** 16) forms.push([0xcd, ...bigEndian(value, 2)]);
  if (value < 2 ** 32) forms.push([0xce, ...bigEndian(value, 4)]);
  return forms;
}

function signedForms(value: number): number[][] {
  const forms = [[0xd3, ...bigEndian(value, 8)]];
  if (value >= -32 && value < 0) forms.push([value & 0xff]);
  if (value >= -0x80 && value < 0x80) forms.push([0xd0, value & 0xff]);
  if (value >= -0x8000 && value < 0x8000) forms.push([0xd1, ...bigEndian(value, 2)]);
  if (value >= -0x8000_0000) forms.push([0xd2, ...bigEndian(value, 4)]);
  return forms;
}

function bigEndian(value: number, bytes: number): number[] {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigInt64(0, BigInt(value));
  return [...new Uint8Array(view.buffer, 8 - bytes)];
}

function float(value: number, bytes: 4 | 8): number[] {
  const view = new DataView(new ArrayBuffer(bytes));
  if (bytes === 8) view.setFloat64(0, value);
  else view.setFloat32(0, value);
  return [...new Uint8Array(view.buffer)];
}
