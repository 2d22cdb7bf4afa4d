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
import type { StepBudget } from './step-budget.ts';

/** A fixed expression of ours, linear: one class, repeated. */
const WORDS = /[\p{L}\p{N}]+/gu;
const WIDE = /[\u0100-\uffff]/;

/** Words of a query: what a text costs is this times its own words. */
const QUERY_WORDS_MAX = 64;
/** Steps that a character costs which is cut into words, where all are of Latin-1 and where not, and a word. */
const CHARACTER_STEPS = 6;
const WIDE_CHARACTER_STEPS = 16;
const WORD_STEPS = 8;
/** Steps that an item of a list costs, to which a search of its own is made. */
const ITEM_STEPS = 64;

/** Throws GridError BAD_REQUEST when the steps do not suffice. */
type TextTest = (field: unknown, steps: StepBudget) => boolean;

export function wordsOf(text: string): readonly string[] {
  return text.toLowerCase().match(WORDS) ?? [];
}

function fieldWords(text: string, steps: StepBudget): readonly string[] {
  steps.spend(text.length * (WIDE.test(text) ? WIDE_CHARACTER_STEPS : CHARACTER_STEPS));
  const words = wordsOf(text);
  steps.spend(words.length * WORD_STEPS);
  return words;
}

export function matchTest(query: string, needsAll: boolean): TextTest {
  const wanted = [...new Set(queryWords(query))];
  return (field, steps) => {
    if (wanted.length === 0) return false;
    const words = new Set(textsOf(field, steps).flatMap((text) => fieldWords(text, steps)));
    return needsAll ? wanted.every((word) => words.has(word)) : wanted.some((word) => words.has(word));
  };
}

export function phraseTest(query: string, slop: number): TextTest {
  const wanted = queryWords(query);
  return (field, steps) =>
    wanted.length > 0 &&
    textsOf(field, steps).some((text) => {
      const words = fieldWords(text, steps);
      steps.spend(words.length * wanted.length);
      return hasPhrase(words, wanted, slop);
    });
}

export function prefixTest(prefix: string): TextTest {
  const wanted = prefix.toLowerCase().trim();
  return (field, steps) =>
    wanted !== '' && textsOf(field, steps).some((text) => fieldWords(text, steps).some((word) => word.startsWith(wanted)));
}

/** Throws GridError BAD_REQUEST when there are too many. */
function queryWords(query: string): readonly string[] {
  const words = wordsOf(query);
  if (words.length > QUERY_WORDS_MAX)
    throw new GridError('BAD_REQUEST', `a text query has at most ${QUERY_WORDS_MAX} words, not ${words.length}`);
  return words;
}

function textsOf(field: unknown, steps: StepBudget): string[] {
  if (typeof field === 'string') return [field];
  if (!Array.isArray(field)) return [];
  steps.spend(field.length * ITEM_STEPS);
  return field.filter((item): item is string => typeof item === 'string');
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
