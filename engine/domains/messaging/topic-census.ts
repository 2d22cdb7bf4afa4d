/**
 * What a worker is asked of its topics, and what it answers: names with subscribers, and how many those are.
 *
 *   wish     matching: a pattern of names, or none is told · of: names whose subscribers are counted
 *   census   topics · subscribers, in the order of `of` · patterns, the same number at every worker
 */
import { assert } from '../../assert.ts';
import { decode, encode, isData } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';

export interface CensusWish {
  readonly matching?: string | undefined;
  readonly of: readonly string[];
}

export interface TopicCensus {
  readonly topics: readonly string[];
  readonly subscribers: readonly number[];
  readonly patterns: number;
}

/** UTF-16 units of all names that one answer tells. */
const NAMES_UNITS_MAX = 2 << 20;

/** A list of names that does not grow beyond what one answer holds. */
export class NamesInBounds {
  readonly all: string[] = [];
  #units = 0;

  /** Throws GridError OVERLOADED when there is no more room. */
  add(name: string): void {
    this.#units += name.length;
    if (this.#units > NAMES_UNITS_MAX) throw new GridError('OVERLOADED', 'too many topics to be told in one answer');
    this.all.push(name);
  }
}

export function encodeCensusWish({ matching, of }: CensusWish): Uint8Array {
  return encode({ matching: matching ?? null, of }).slice();
}

export function decodeCensusWish(body: Uint8Array): CensusWish {
  const told = decode(body);
  assert(isData(told), 'a wish is a map');
  return { matching: typeof told.matching === 'string' ? told.matching : undefined, of: listOf(told.of, isString) };
}

export function encodeCensus(census: TopicCensus): Uint8Array {
  return encode(census).slice();
}

export function decodeCensus(body: Uint8Array): TopicCensus {
  const told = decode(body);
  assert(isData(told) && isNumber(told.patterns), 'a census is a map');
  return { topics: listOf(told.topics, isString), subscribers: listOf(told.subscribers, isNumber), patterns: told.patterns };
}

function listOf<Item>(told: unknown, isItem: (item: unknown) => item is Item): Item[] {
  assert(Array.isArray(told), 'a list');
  return told.map((item: unknown) => {
    assert(isItem(item), 'an item of the list');
    return item;
  });
}

function isString(value: unknown): value is string {
  return typeof value === 'string';
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number';
}
