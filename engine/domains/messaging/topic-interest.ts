/** What a gateway tells workers of its subscribers: how many it has now, by topic and by pattern. Repeats change nothing. */
import { assert } from '../../assert.ts';
import { decode, encode, isData } from '../../protocol/codec.ts';

/** A name, or a pattern of names, and its subscribers at the gateway that tells; 0 ends the interest. */
export type InterestCount = readonly [name: string, count: number];

export interface TopicInterest {
  readonly topics: readonly InterestCount[];
  readonly patterns: readonly InterestCount[];
}

export function encodeInterest({ topics, patterns }: TopicInterest): Uint8Array {
  return encode({ topics, patterns }).slice();
}

export function decodeInterest(body: Uint8Array): TopicInterest {
  const told = decode(body);
  assert(isData(told), 'an interest is a map');
  return { topics: countsOf(told.topics), patterns: countsOf(told.patterns) };
}

function countsOf(told: unknown): InterestCount[] {
  assert(Array.isArray(told), 'interests are a list');
  return told.map((pair: unknown) => {
    assert(
      Array.isArray(pair) && typeof pair[0] === 'string' && typeof pair[1] === 'number',
      'an interest is a name and a count',
    );
    return [pair[0], pair[1]];
  });
}
