/**
 * The references of a table without gaps, for cursors: chunks of at most 16 384, so that growing never copies much.
 *
 *   #chunks   [ 16 384 ][ 16 384 ][ 16 384 ]      a list that fits one chunk doubles it from 8; later ones come whole
 *
 * Removing swaps the last reference into the hole. A cursor walks from the end to the start and asks for the length
 * each time: what the swap puts into a place that it has yet to visit was behind it or is the end it comes from, so
 * it may see a record twice but never misses one.
 */
import type { RecordCursor } from './storage.ts';

const CHUNK_SHIFT = 14;
const CHUNK_LENGTH = 1 << CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_LENGTH - 1;
const LENGTH_MIN = 8;

export class DenseList {
  #chunks: Int32Array[] = [new Int32Array(LENGTH_MIN)];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  at(position: number): number {
    const chunk = this.#chunks[position >>> CHUNK_SHIFT] as Int32Array;
    return chunk[position & CHUNK_MASK] as number;
  }

  set(position: number, ref: number): void {
    const chunk = this.#chunks[position >>> CHUNK_SHIFT] as Int32Array;
    chunk[position & CHUNK_MASK] = ref;
  }

  /** Appends; the position is the length before. */
  push(ref: number): void {
    const position = this.#length;
    const index = position >>> CHUNK_SHIFT;
    const chunk = this.#chunks[index];
    if (chunk === undefined) this.#chunks.push(new Int32Array(CHUNK_LENGTH));
    else if ((position & CHUNK_MASK) === chunk.length) this.#double(chunk, index);
    this.#length = position + 1;
    this.set(position, ref);
  }

  /** Removes the reference at `position`; answers the one that stands there now, or 0 when it was the last. */
  removeAt(position: number): number {
    const last = this.#length - 1;
    const moved = this.at(last);
    this.#length = last;
    if ((last & CHUNK_MASK) === 0 && this.#chunks.length > (last >>> CHUNK_SHIFT) + 2) this.#chunks.pop(); // keeps one spare
    if (position === last) return 0;
    this.set(position, moved);
    return moved;
  }

  clear(): void {
    this.#chunks = [new Int32Array(LENGTH_MIN)];
    this.#length = 0;
  }

  cursor(): RecordCursor {
    return new DenseCursor(this);
  }

  #double(chunk: Int32Array, index: number): void {
    const larger = new Int32Array(chunk.length * 2);
    larger.set(chunk);
    this.#chunks[index] = larger;
  }
}

class DenseCursor implements RecordCursor {
  readonly #list: DenseList;
  /** References before this place are still to come. */
  #end: number;

  constructor(list: DenseList) {
    this.#list = list;
    this.#end = list.length;
  }

  next(): number {
    if (this.#end > this.#list.length) this.#end = this.#list.length;
    if (this.#end === 0) return 0;
    this.#end -= 1;
    return this.#list.at(this.#end);
  }
}
