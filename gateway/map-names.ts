/**
 * Numbers for the map names that this gateway meets, so that an op carries an integer.
 *
 * Names come as bytes and are compared as bytes: first with the last name used (a frame mostly stays in one map), then
 * through a table on their hash. A name is checked once, when it gets its number: clients may not use empty names,
 * names with `:`, and the reserved prefixes (docs/PROTOCOL.md §12). Refused names share three numbers below 0 and take no
 * room: nobody can fill the table with them.
 */
import { fnv1aUtf8, isUtf8 } from '../engine/partition/hash.ts';
import { decodeText, encodeText } from '../engine/protocol/wire-text.ts';
import { type ErrorCode, GridError } from '../engine/protocol/errors.ts';

const RESERVED = ['_topgun_', '__topgun_', '_lattice_'];
const NAME_BYTES_MAX = 512;

/** Errors of the numbers -1, -2, … */
const REFUSALS = ['INVALID_MAP_NAME', 'RESERVED_MAP_NAME', 'FORBIDDEN'] as const;

interface MapName {
  readonly id: number;
  readonly bytes: Uint8Array;
}

export class MapNames {
  readonly #byHash = new Map<number, MapName[]>();
  readonly #byId: MapName[] = [];
  readonly #namesMax: number;
  #last: MapName = { id: 0, bytes: new Uint8Array(0) };

  constructor(namesMax: number) {
    this.#namesMax = namesMax;
  }

  /**
   * The number of the name, from 1; 0 when there are too many names, below 0 when clients may not use it.
   * @param isAllowed asked of a name without a number, before it gets one: nobody uses names up who may do nothing with them
   */
  idOf(bytes: Uint8Array, start: number, length: number, isAllowed?: (name: string) => boolean): number {
    if (sameBytes(this.#last.bytes, bytes, start, length)) return this.#last.id;
    const hash = fnv1aUtf8(bytes, start, start + length);
    const known = this.#byHash.get(hash)?.find((name) => sameBytes(name.bytes, bytes, start, length));
    if (known === undefined) return this.#add(hash, bytes.slice(start, start + length), isAllowed);
    this.#last = known;
    return known.id;
  }

  /** Why clients may not use the map, or undefined. */
  errorOf(id: number): ErrorCode | undefined {
    if (id > 0) return undefined;
    return id === 0 ? 'TOO_MANY_MAPS' : REFUSALS[-id - 1];
  }

  /** Numbers given, from 1. */
  get count(): number {
    return this.#byId.length;
  }

  /** The number of a name that has one; 0 for any other. */
  idOfText(name: string): number {
    const bytes = encodeText(name);
    const hash = fnv1aUtf8(bytes, 0, bytes.length);
    return this.#byHash.get(hash)?.find((known) => sameBytes(known.bytes, bytes, 0, bytes.length))?.id ?? 0;
  }

  textOf(id: number): string {
    const bytes = this.bytesOf(id);
    return decodeText(bytes, 0, bytes.length);
  }

  /** The name's bytes. */
  bytesOf(id: number): Uint8Array {
    return this.#byId[id - 1]?.bytes ?? new Uint8Array(0);
  }

  #add(hash: number, bytes: Uint8Array, isAllowed: ((name: string) => boolean) | undefined): number {
    const isForbidden = isAllowed !== undefined && !isAllowed(decodeText(bytes, 0, bytes.length));
    const refused = refusalOf(bytes) ?? (isForbidden ? 'FORBIDDEN' : undefined);
    if (refused !== undefined) return -1 - REFUSALS.indexOf(refused);
    if (this.#byId.length >= this.#namesMax) return 0;
    const name: MapName = { id: this.#byId.length + 1, bytes };
    this.#byId.push(name);
    const names = this.#byHash.get(hash);
    if (names === undefined) this.#byHash.set(hash, [name]);
    else names.push(name);
    this.#last = name;
    return name.id;
  }
}

/** Why clients may not use a map of this name. */
function refusalOf(bytes: Uint8Array): (typeof REFUSALS)[number] | undefined {
  return bytes.includes(0x3a) ? 'INVALID_MAP_NAME' : doorRefusalOf(bytes);
}

/** Why nobody may use a map of this name: doors other than the WebSocket know names with `:` too. */
export function doorRefusalOf(bytes: Uint8Array): (typeof REFUSALS)[number] | undefined {
  if (bytes.length === 0 || bytes.length > NAME_BYTES_MAX) return 'INVALID_MAP_NAME';
  if (!isUtf8(bytes, 0, bytes.length)) return 'INVALID_MAP_NAME';
  const text = new TextDecoder().decode(bytes).toLowerCase();
  return RESERVED.some((prefix) => text.startsWith(prefix)) ? 'RESERVED_MAP_NAME' : undefined;
}

/** Throws GridError for a name that no door takes. */
export function assertDoorMap(map: string): void {
  const refusal = doorRefusalOf(encodeText(map));
  if (refusal !== undefined) throw new GridError(refusal, `the name of map ${map.slice(0, 64)} is empty, too long or reserved`);
}

function sameBytes(name: Uint8Array, bytes: Uint8Array, start: number, length: number): boolean {
  if (name.length !== length) return false;
  for (let index = 0; index < length; index++) if (name[index] !== bytes[start + index]) return false;
  return length > 0;
}
