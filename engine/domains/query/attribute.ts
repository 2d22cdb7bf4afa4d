/**
 * An attribute of a row, by name: what a client wrote under it, and nothing that JavaScript would add.
 *
 *   "_key"      the record's key, whatever the value has under that name
 *   "a.b"       the field `a.b` of the value when it has one, else field `b` of the map in field `a`, and so on
 *
 * Only own properties of decoded maps are read, so `__proto__` and `constructor` are names like all others. Arrays and
 * bytes have no fields. What is not there is `undefined`, which is not the same as a stored null.
 */
import { isData } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';

/** Name by which a query reaches the key. The client puts the key under it into the rows that it shows. */
export const KEY_ATTRIBUTE = '_key';
const NAME_CHARS_MAX = 256;
const PATH_PARTS_MAX = 16;

/** Reads one attribute of a row. */
export type ReadAttribute = (value: unknown, key: string) => unknown;

/** Throws GridError BAD_REQUEST when the name is empty, or longer or deeper than an attribute may be. */
export function attributeReader(name: string): ReadAttribute {
  if (name.length === 0 || name.length > NAME_CHARS_MAX)
    throw new GridError('BAD_REQUEST', `an attribute's name has 1 to ${NAME_CHARS_MAX} characters, not ${name.length}`);
  if (name === KEY_ATTRIBUTE) return (_value, key) => key;
  const parts = name.split('.');
  if (parts.length > PATH_PARTS_MAX)
    throw new GridError('BAD_REQUEST', `an attribute is at most ${PATH_PARTS_MAX} maps deep, not ${parts.length}`);
  if (parts.length === 1) return (value) => fieldOf(value, name);
  return (value) => fieldOf(value, name) ?? fieldAt(value, parts);
}

/** As `attributeReader`, without paths: the names of a `where` are taken literally. */
export function fieldReader(name: string): ReadAttribute {
  if (name === KEY_ATTRIBUTE) return attributeReader(name);
  if (name.length > NAME_CHARS_MAX)
    throw new GridError('BAD_REQUEST', `an attribute's name has at most ${NAME_CHARS_MAX} characters, not ${name.length}`);
  return (value) => fieldOf(value, name);
}

/** The own field of a map, or undefined. */
export function fieldOf(value: unknown, name: string): unknown {
  return isData(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

/** What the path of names leads to through maps in maps, or undefined. */
export function fieldAt(value: unknown, parts: readonly string[]): unknown {
  let at = value;
  for (const part of parts) at = fieldOf(at, part);
  return at;
}
