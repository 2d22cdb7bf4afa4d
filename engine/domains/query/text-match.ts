/**
 * The full-text operators of predicates, judged row by row: no ranking, no index, no stemming.
 *
 *   match        the attribute has one of the query's words (with `operator: "and"`, all of them)
 *   matchPhrase  it has the words in their order, with at most `slop` others in between
 *   matchPrefix  it has a word that begins so
 *
 * A word is a run of letters and digits, in lower case. An array of strings is searched like one text, item by item.
 */
import { GridError } from '../../protocol/errors.ts';

/** A fixed expression of ours, linear: one class, repeated. */
const WORDS = /[\p{L}\p{N}]+/gu;

/** Words of a query: what a text costs is this times its own words. */
const QUERY_WORDS_MAX = 64;

export function wordsOf(text: string): readonly string[] {
  return text.toLowerCase().match(WORDS) ?? [];
}

export function matchTest(query: string, needsAll: boolean): (field: unknown) => boolean {
  const wanted = [...new Set(queryWords(query))];
  return (field) => {
    if (wanted.length === 0) return false;
    const words = new Set(textsOf(field).flatMap(wordsOf));
    return needsAll ? wanted.every((word) => words.has(word)) : wanted.some((word) => words.has(word));
  };
}

export function phraseTest(query: string, slop: number): (field: unknown) => boolean {
  const wanted = queryWords(query);
  return (field) => wanted.length > 0 && textsOf(field).some((text) => hasPhrase(wordsOf(text), wanted, slop));
}

export function prefixTest(prefix: string): (field: unknown) => boolean {
  const wanted = prefix.toLowerCase().trim();
  return (field) => wanted !== '' && textsOf(field).some((text) => wordsOf(text).some((word) => word.startsWith(wanted)));
}

/** Throws GridError BAD_REQUEST when there are too many. */
function queryWords(query: string): readonly string[] {
  const words = wordsOf(query);
  if (words.length > QUERY_WORDS_MAX)
    throw new GridError('BAD_REQUEST', `a text query has at most ${QUERY_WORDS_MAX} words, not ${words.length}`);
  return words;
}

function textsOf(field: unknown): string[] {
  if (typeof field === 'string') return [field];
  return Array.isArray(field) ? field.filter((item): item is string => typeof item === 'string') : [];
}

/** True when the words stand in `text` in their order, the last at most `wanted.length - 1 + slop` behind the first. */
function hasPhrase(text: readonly string[], wanted: readonly string[], slop: number): boolean {
  // startOf[i]: the latest start of a match of wanted[0..i] that ends at or before the word at hand
  const startOf = new Int32Array(wanted.length).fill(-1);
  for (let at = 0; at < text.length; at++) {
    for (let index = wanted.length - 1; index >= 0; index--) {
      if (text[at] !== wanted[index]) continue;
      startOf[index] = index === 0 ? at : (startOf[index - 1] as number);
    }
    const start = startOf[wanted.length - 1] as number;
    if (start >= 0 && text[at] === wanted[wanted.length - 1] && at - start <= wanted.length - 1 + slop) return true;
  }
  return false;
}
