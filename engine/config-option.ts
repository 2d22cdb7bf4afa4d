/**
 * What one option is: a zod schema that judges a value, the reading of the text forms (flag, environment), and the words
 * that help, error messages and the option table are made of.
 */
import { z } from 'zod';

/** What the author of an option writes down, whatever its kind. */
export interface OptionNotes {
  /** Table of the TOML file that the option stands in. */
  readonly section: string;
  /** What the option is, in one or two sentences. */
  readonly about: string;
  /** What raising it costs or brings. */
  readonly raise?: string;
  /** What lowering it costs or brings. */
  readonly lower?: string;
  /** Names in the environment, the first one wins. By default LATTICE_ and the option's name. */
  readonly env?: readonly string[];
  /** Never printed. */
  readonly secret?: true;
  /** Replaces the printed default, where it depends on the machine. */
  readonly defaultText?: string;
}

export interface Option<Value> extends OptionNotes {
  readonly schema: z.ZodType<Value>;
  readonly default: Value;
  /** Unit of the value, '' for none. */
  readonly unit: string;
  /** The range or the choices, as error messages and help name them. */
  readonly allowed: string;
  /** The value that a text stands for; a text that is none comes back as it is, and the schema refuses it. */
  fromText(text: string): unknown;
}

type IntegerNotes = OptionNotes & {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly unit?: string;
};

/** A whole number from `min` to `max`. */
export function integer(notes: IntegerNotes): Option<number> {
  const unit = notes.unit ?? '';
  return {
    ...notes,
    unit,
    schema: z.int().min(notes.min).max(notes.max),
    allowed: `a whole number from ${notes.min} to ${notes.max}${unit === '' ? '' : ` (${unit})`}`,
    fromText: (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text),
  };
}

/** A power of two from `min` to `max`, in bytes. */
export function powerOfTwo(notes: IntegerNotes): Option<number> {
  const option = integer({ ...notes, unit: 'bytes' });
  return {
    ...option,
    schema: option.schema.refine((value) => Number.isInteger(Math.log2(value))),
    allowed: `a power of two from ${notes.min} to ${notes.max} (bytes)`,
  };
}

/** One of a few words. */
export function choice<const Word extends string>(notes: OptionNotes & { default: Word; words: readonly Word[] }): Option<Word> {
  return {
    ...notes,
    unit: '',
    schema: z.enum(notes.words),
    allowed: `one of ${notes.words.join(', ')}`,
    fromText: (text) => text,
  };
}

const ON_OFF: ReadonlyMap<string, boolean> = new Map([
  ['on', true],
  ['true', true],
  ['1', true],
  ['off', false],
  ['false', false],
  ['0', false],
]);

/** A switch: `on` or `off` in text, a boolean in the file. */
export function onOff(notes: OptionNotes & { readonly default: boolean }): Option<boolean> {
  return { ...notes, unit: '', schema: z.boolean(), allowed: 'on or off', fromText: (text) => ON_OFF.get(text) ?? text };
}

type TextNotes = OptionNotes & { readonly allowed: string; readonly accepts?: (text: string) => boolean };

/** A text that is always there. */
export function text(notes: TextNotes & { readonly default: string }): Option<string> {
  const accepts = notes.accepts ?? (() => true);
  return { ...notes, unit: '', schema: z.string().min(1).refine(accepts), fromText: (value) => value };
}

/** A text that may be absent. */
export function optionalText(notes: TextNotes): Option<string | undefined> {
  const accepts = notes.accepts ?? (() => true);
  return {
    ...notes,
    unit: '',
    default: undefined,
    schema: z.string().min(1).refine(accepts).optional(),
    fromText: (value) => value,
  };
}

/** Several texts: with commas between them in text, an array in the file. */
export function textList(notes: TextNotes): Option<readonly string[]> {
  const accepts = notes.accepts ?? (() => true);
  return {
    ...notes,
    unit: '',
    default: [],
    schema: z.array(z.string().min(1).refine(accepts)),
    fromText: (value) => value.split(',').map((part) => part.trim()),
  };
}
