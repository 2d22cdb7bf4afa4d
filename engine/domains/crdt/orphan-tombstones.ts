/**
 * Tags that a client says are removed, where this worker does not know under which key they were added.
 *
 * A push carries the tombstones of the client's whole map in every entry, so most of them belong to other keys, often
 * on other workers. A tag is unique in the world: remembering it without its key is enough to ignore a late add of it.
 *
 * In memory only, bounded; when full the oldest goes. It cannot be a record: a record lives in the partition of its key,
 * and that is what is missing. Losing it costs little. A removal proper is an op that names key and tag, and becomes a
 * record; what a push names as removed is such an op that is on its way, was handled, or was pruned, and then the add is
 * refused for its age. Every push names the tag again. And when the add comes while the tag is known here, key and tag
 * are known, too: then the removal does become a record (crdt-service.ts).
 *
 * Lookups hash the tag's bytes and make no string unless the hash is known.
 */
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { decodeText } from '../../protocol/wire-text.ts';

const TAGS_MAX = 100_000;
/** Tags of one hash, which are looked through one by one: more are made on purpose, and the oldest of them goes. */
const ALIKE_MAX = 128;

export class OrphanTombstones {
  /** Hash → tags with that hash (almost always one), oldest first. */
  readonly #tags = new Map<number, string[]>();
  /** Hashes by age, in a circle once it is full. The map's own order is no help: it steps over what was deleted, again each time. */
  readonly #hashes: number[] = [];
  #oldest = 0;

  get count(): number {
    return this.#hashes.length;
  }

  /** Remembers `tag` (its UTF-8 in `bytes`). */
  add(tag: string, bytes: Uint8Array): void {
    const hash = fnv1aUtf8(bytes, 0, bytes.length);
    const alike = this.#tags.get(hash);
    if (alike?.includes(tag) === true) return;
    if (alike !== undefined && alike.length >= ALIKE_MAX) {
      alike.shift(); // whose place in the circle is the new one's now
      alike.push(tag);
      return;
    }
    if (this.#hashes.length < TAGS_MAX) this.#hashes.push(hash);
    else this.#replaceOldest(hash);
    const known = this.#tags.get(hash);
    if (known === undefined) this.#tags.set(hash, [tag]);
    else known.push(tag);
  }

  /** True when the tag in `bytes[start, start + length)` was removed by somebody. */
  has(bytes: Uint8Array, start: number, length: number): boolean {
    if (this.#hashes.length === 0) return false;
    const known = this.#tags.get(fnv1aUtf8(bytes, start, start + length));
    return known?.includes(decodeText(bytes, start, start + length)) === true;
  }

  #replaceOldest(hash: number): void {
    const oldest = this.#hashes[this.#oldest] as number;
    this.#hashes[this.#oldest] = hash;
    this.#oldest = (this.#oldest + 1) % TAGS_MAX;
    const tags = this.#tags.get(oldest);
    if (tags !== undefined && tags.length > 1) tags.shift();
    else this.#tags.delete(oldest);
  }
}
