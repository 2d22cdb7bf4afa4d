/**
 * Numbers for the map names that this gateway meets, so that an op carries an integer.
 *
 * Names come as bytes and are compared as bytes: first with the last name used (a frame mostly stays in one map), then
 * through a table on their hash. A name is checked once, when it gets its number: clients may not use empty names,
 * names with `:`, and the reserved prefixes (protocol reference §12). A refused name has a number too, with its error.
 */
import { fnv1aUtf8, isUtf8 } from '../engine/partition/hash.ts';
import type { ErrorCode } from '../engine/protocol/errors.ts';

const RESERVED = ['_topgun_', '__topgun_', '_lattice_'];
const NAME_BYTES_MAX = 512;

interface MapName {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly error: ErrorCode | undefined;
}

export class MapNames {
  readonly #byHash = new Map<number, MapName[]>();
  readonly #byId: MapName[] = [];
  readonly #namesMax: number;
  #last: MapName = { id: 0, bytes: new Uint8Array(0), error: 'INVALID_MAP_NAME' };

  constructor(namesMax: number) {
    this.#namesMax = namesMax;
  }

  /** The number of the name, from 1; 0 when there are too many names. */
  idOf(bytes: Uint8Array, start: number, length: number): number {
    if (sameBytes(this.#last.bytes, bytes, start, length)) return this.#last.id;
    const hash = fnv1aUtf8(bytes, start, start + length);
    const names = this.#byHash.get(hash);
    const known =
      names?.find((name) => sameBytes(name.bytes, bytes, start, length)) ?? this.#add(hash, bytes.slice(start, start + length));
    if (known === undefined) return 0;
    this.#last = known;
    return known.id;
  }

  /** Why clients may not use the map, or undefined. */
  errorOf(id: number): ErrorCode | undefined {
    return id === 0 ? 'TOO_MANY_MAPS' : this.#byId[id - 1]?.error;
  }

  /** The name's bytes. */
  bytesOf(id: number): Uint8Array {
    return this.#byId[id - 1]?.bytes ?? new Uint8Array(0);
  }

  #add(hash: number, bytes: Uint8Array): MapName | undefined {
    if (this.#byId.length >= this.#namesMax) return undefined;
    const name: MapName = { id: this.#byId.length + 1, bytes, error: refusal(bytes) };
    this.#byId.push(name);
    const names = this.#byHash.get(hash);
    if (names === undefined) this.#byHash.set(hash, [name]);
    else names.push(name);
    return name;
  }
}

/** Why clients may not use a map of this name. */
function refusal(bytes: Uint8Array): ErrorCode | undefined {
  if (bytes.length === 0 || bytes.length > NAME_BYTES_MAX || bytes.includes(0x3a)) return 'INVALID_MAP_NAME';
  if (!isUtf8(bytes, 0, bytes.length)) return 'INVALID_MAP_NAME';
  const text = new TextDecoder().decode(bytes).toLowerCase();
  return RESERVED.some((prefix) => text.startsWith(prefix)) ? 'RESERVED_MAP_NAME' : undefined;
}

function sameBytes(name: Uint8Array, bytes: Uint8Array, start: number, length: number): boolean {
  if (name.length !== length) return false;
  for (let index = 0; index < length; index++) if (name[index] !== bytes[start + index]) return false;
  return length > 0;
}
