/**
 * A binary min-heap of (time, reference, owner) in typed arrays, for the queue of expiries.
 *
 *   chunks   [ 16 384 ][ 16 384 ] …     three arrays a chunk; a heap that fits one chunk doubles it from 64
 *
 * Growing copies one chunk at most, so no write waits for a million entries to be moved; chunks that empty are let go.
 * An entry can be taken out at any place: its place is filled with the last one, which then rises or sinks.
 */
const CHUNK_SHIFT = 14;
const CHUNK_LENGTH = 1 << CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_LENGTH - 1;
const LENGTH_MIN = 64;

class Chunk {
  readonly times: Float64Array;
  readonly refs: Int32Array;
  readonly owners: Int32Array;

  constructor(length: number) {
    this.times = new Float64Array(length);
    this.refs = new Int32Array(length);
    this.owners = new Int32Array(length);
  }
}

export class ExpiryHeap {
  #chunks: Chunk[] = [new Chunk(LENGTH_MIN)];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Memory of all chunks, in bytes. */
  get bytes(): number {
    return this.#chunks.reduce((bytes, chunk) => bytes + chunk.times.length * 16, 0);
  }

  /** Entry 0 has the lowest time. */
  timeAt(index: number): number {
    return this.#chunk(index).times[index & CHUNK_MASK] as number;
  }

  refAt(index: number): number {
    return this.#chunk(index).refs[index & CHUNK_MASK] as number;
  }

  ownerAt(index: number): number {
    return this.#chunk(index).owners[index & CHUNK_MASK] as number;
  }

  push(time: number, ref: number, owner: number): void {
    const index = this.#length;
    this.#reserve(index);
    this.#length = index + 1;
    this.#rise(index, time, ref, owner);
  }

  removeAt(index: number): void {
    const last = this.#length - 1;
    const chunk = this.#chunk(last);
    const time = chunk.times[last & CHUNK_MASK] as number;
    const ref = chunk.refs[last & CHUNK_MASK] as number;
    const owner = chunk.owners[last & CHUNK_MASK] as number;
    this.#length = last;
    if ((last & CHUNK_MASK) === 0 && this.#chunks.length > (last >>> CHUNK_SHIFT) + 2) this.#chunks.pop(); // keeps one spare
    if (index === last) return;
    if (index > 0 && this.timeAt((index - 1) >>> 1) > time) this.#rise(index, time, ref, owner);
    else this.#sink(index, time, ref, owner);
  }

  #rise(from: number, time: number, ref: number, owner: number): void {
    let hole = from;
    while (hole > 0) {
      const parent = (hole - 1) >>> 1;
      if (this.timeAt(parent) <= time) break;
      this.#copy(parent, hole);
      hole = parent;
    }
    this.#put(hole, time, ref, owner);
  }

  #sink(from: number, time: number, ref: number, owner: number): void {
    const length = this.#length;
    let hole = from;
    for (let child = hole * 2 + 1; child < length; child = hole * 2 + 1) {
      if (child + 1 < length && this.timeAt(child + 1) < this.timeAt(child)) child += 1;
      if (this.timeAt(child) >= time) break;
      this.#copy(child, hole);
      hole = child;
    }
    this.#put(hole, time, ref, owner);
  }

  #copy(from: number, to: number): void {
    const chunk = this.#chunk(from);
    const at = from & CHUNK_MASK;
    this.#put(to, chunk.times[at] as number, chunk.refs[at] as number, chunk.owners[at] as number);
  }

  #put(index: number, time: number, ref: number, owner: number): void {
    const chunk = this.#chunk(index);
    const at = index & CHUNK_MASK;
    chunk.times[at] = time;
    chunk.refs[at] = ref;
    chunk.owners[at] = owner;
  }

  #chunk(index: number): Chunk {
    return this.#chunks[index >>> CHUNK_SHIFT] as Chunk;
  }

  /** Makes room for the entry at `index`, the first that may be missing. */
  #reserve(index: number): void {
    const place = index >>> CHUNK_SHIFT;
    const chunk = this.#chunks[place];
    if (chunk === undefined) {
      this.#chunks.push(new Chunk(CHUNK_LENGTH));
    } else if ((index & CHUNK_MASK) === chunk.times.length) {
      const larger = new Chunk(chunk.times.length * 2);
      larger.times.set(chunk.times);
      larger.refs.set(chunk.refs);
      larger.owners.set(chunk.owners);
      this.#chunks[place] = larger;
    }
  }
}
