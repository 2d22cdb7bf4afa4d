/**
 * Text of a value as the TopGun client hashes it: what `JSON.stringify(value, Object.keys(value).sort())` makes of it.
 *
 * The second argument is an allow-list that holds at every depth: of maps inside, only names of the top level are told, in order of
 * UTF-16 units; those of the top level of a list are its indices. JSON.stringify tries each of them at each map, which takes minutes for a
 * list of 100 000 maps. Here each map is asked for its own names, so that the work grows with the value. Bytes are maps of their indices.
 *
 * Source: docs/PROTOCOL.md §4.3.
 */

/** Whether a name stands at the top level. */
type Allowed = (name: string) => boolean;

/** Names that bytes have beside their indices. */
const BYTES_NAMES = ['BYTES_PER_ELEMENT', 'buffer', 'byteLength', 'byteOffset', 'length'];
const INDEX = /^(?:0|[1-9]\d{0,15})$/;

/** Throws TypeError when the value has a bigint inside, RangeError for a cycle: no decoder makes them. */
export function valueText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value) || value instanceof Uint8Array) {
    const { length } = value;
    return textOf(value, (name) => INDEX.test(name) && Number(name) < length, length);
  }
  const names = new Set(Object.keys(value));
  return textOf(value, (name) => names.has(name), indicesIn(names));
}

/** @param indices names at the top level that may be indices are below this */
function textOf(value: unknown, isAllowed: Allowed, indices: number): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map((item) => textOf(item, isAllowed, indices)).join(',')}]`;
  if (value instanceof Uint8Array) return bytesText(value, isAllowed, Math.min(indices, value.length));
  const members: string[] = [];
  for (const name of Object.keys(value).filter(isAllowed).sort()) {
    const member: unknown = Reflect.get(value, name);
    if (member === undefined || typeof member === 'function' || typeof member === 'symbol') continue;
    members.push(`${JSON.stringify(name)}:${textOf(member, isAllowed, indices)}`);
  }
  return `{${members.join(',')}}`;
}

/** The indices below `end` in the order of their texts: 0, 1, 10, 100, 101, …, 11, …, 2, … */
function bytesText(bytes: Uint8Array, isAllowed: Allowed, end: number): string {
  const members: string[] = [];
  const add = (index: number): void => {
    if (isAllowed(String(index))) members.push(`"${index}":${bytes[index]}`);
  };
  const others = BYTES_NAMES.filter(isAllowed);
  if (end > 0) add(0);
  for (let index = 1; index > 0 && index < end; index = nextIndex(index, end)) add(index);
  if (others.length > 0) members.push(JSON.stringify(bytes, others).slice(1, -1)); // capitals and letters stand behind digits
  return `{${members.join(',')}}`;
}

/** The index behind this one in the order of texts; 0: there is none. */
function nextIndex(index: number, end: number): number {
  if (index * 10 < end) return index * 10;
  let next = index;
  while (next > 0 && (next % 10 === 9 || next + 1 >= end)) next = Math.floor(next / 10);
  return next === 0 ? 0 : next + 1;
}

/** One more than the largest index among the names. */
function indicesIn(names: ReadonlySet<string>): number {
  let end = 0;
  for (const name of names) if (INDEX.test(name)) end = Math.max(end, Number(name) + 1);
  return end;
}
