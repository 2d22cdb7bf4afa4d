/**
 * Which keys are the names of maps: as a key such a map is a hash, and a string command on it is an error.
 *
 * Asked for every key, so the hash of the key, which the asker has, is looked up first. A map counts once it has a live record on
 * this worker; the maps of the databases themselves (`db0` …) do not count.
 */
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { KIND_LWW } from '../../storage/record.ts';
import type { GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';
import { DATABASES } from './command.ts';

const encoder = new TextEncoder();
const DATABASE_NAMES = Array.from({ length: DATABASES }, (_, db) => encoder.encode(`db${db}`));
const LETTER_D = 0x64;
const LETTER_B = 0x62;
const ZERO = 0x30;

/** Name of a database's map. */
export function databaseName(db: number): Uint8Array {
  return DATABASE_NAMES[db] ?? encoder.encode(`db${db}`);
}

/** True for the name of a database's map. Asked for every key that several workers act on. */
export function isDatabaseName(name: Uint8Array): boolean {
  return databaseNameLike(name) !== undefined;
}

/** The name of a database's map that has these bytes: the same array each time. */
export function databaseNameLike(name: Uint8Array): Uint8Array | undefined {
  if (name.length < 3 || name.length > 4 || name[0] !== LETTER_D || name[1] !== LETTER_B) return undefined;
  const first = (name[2] as number) - ZERO;
  if (name.length === 3) return first >= 0 && first <= 9 ? DATABASE_NAMES[first] : undefined;
  const second = (name[3] as number) - ZERO;
  return first === 1 && second >= 0 && second <= 9 ? DATABASE_NAMES[10 + second] : undefined;
}

export class HashNames {
  readonly #maps: MapCatalogue;
  readonly #byHash = new Map<number, GridMap[]>();
  #known = 0;

  constructor(maps: MapCatalogue) {
    this.#maps = maps;
  }

  /** True when the key `bytes[0, length)` is the name of a map with live records here; `keyHash` is fnv1a of the key. */
  has(bytes: Uint8Array, length: number, keyHash: number): boolean {
    if (this.#maps.size !== this.#known) this.#learn();
    if (this.#byHash.size === 0) return false;
    const maps = this.#byHash.get(keyHash);
    if (maps === undefined) return false;
    return maps.some((map) => isSameName(map.name, bytes, length) && isLive(map));
  }

  /** Names of all such maps. */
  live(): Uint8Array[] {
    if (this.#maps.size !== this.#known) this.#learn();
    const names: Uint8Array[] = [];
    for (const maps of this.#byHash.values()) for (const map of maps) if (isLive(map)) names.push(map.name);
    return names;
  }

  #learn(): void {
    this.#byHash.clear();
    for (const map of this.#maps.maps()) {
      if (isDatabaseName(map.name)) continue;
      const hash = fnv1aUtf8(map.name, 0, map.name.length);
      const others = this.#byHash.get(hash);
      if (others === undefined) this.#byHash.set(hash, [map]);
      else others.push(map);
    }
    this.#known = this.#maps.size;
  }
}

/** OR-Maps are no hashes. */
function isLive(map: GridMap): boolean {
  const store = map.existing(KIND_LWW);
  return store !== undefined && store.records > store.tombstones;
}

function isSameName(name: Uint8Array, bytes: Uint8Array, length: number): boolean {
  return name.length === length && name.every((byte, index) => byte === bytes[index]);
}
