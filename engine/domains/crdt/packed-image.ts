/** A packed op (packed-op.ts) as an image: what is joined, over the ring's own bytes. */
import type { RingMemory } from '../../protocol/envelope.ts';
import { OP_KIND_MASK, OP_OR_REMOVE, OP_PUT, OP_REMOVE } from '../../protocol/op-index.ts';
import { PACKED, PACKED_SPANS_START } from '../../protocol/packed-op.ts';
import type { RecordImage } from '../../storage/record.ts';

/** Points the image at the packed op that begins at `word`. It is valid as long as the ring keeps the op. */
export function pointAtOp(image: RecordImage, memory: RingMemory, word: number): void {
  const words = memory.words;
  const spans = words[word + PACKED.KEY_TAG_BYTES] as number;
  const nodeAndFlags = words[word + PACKED.NODE_BYTES_FLAGS] as number;
  const valueBytes = words[word + PACKED.VALUE_BYTES] as number;
  image.source = memory.bytes;
  image.millis = memory.floats[(word >> 1) + PACKED.MILLIS_F64] as number;
  image.ttlMs = memory.floats[(word >> 1) + PACKED.TTL_MS_F64] as number;
  image.counter = (words[word + PACKED.COUNTER] as number) >>> 0;
  image.keyHash = (words[word + PACKED.KEY_HASH] as number) >>> 0;
  image.keyStart = (word << 2) + PACKED_SPANS_START;
  image.keyBytes = spans & 0xffff;
  image.tagStart = image.keyStart + image.keyBytes;
  image.tagBytes = spans >>> 16;
  image.nodeStart = image.tagStart + image.tagBytes;
  image.nodeBytes = nodeAndFlags & 0xffff;
  image.valueStart = image.nodeStart + image.nodeBytes;
  image.valueBytes = valueBytes;
  const kind = (nodeAndFlags >>> 16) & OP_KIND_MASK;
  image.tombstone = kind === OP_REMOVE || kind === OP_OR_REMOVE || (kind === OP_PUT && valueBytes === 0);
}
