/**
 * The two ends of a read by identity: arrays of identities as text parameters, and rows as images.
 *
 *   identities ─▶ {1,2}, {"\\x6b31","\\x6b32"} ─▶ one statement, one round trip ─▶ rows ─▶ image, value by value
 */
import { assert } from '../../engine/assert.ts';
import { fnv1aUtf8, partitionOf } from '../../engine/partition/hash.ts';
import type { RecordIdentity } from '../../engine/storage/data-store.ts';
import { KIND_LWW, KIND_OR, type RecordImage, type RecordKind } from '../../engine/storage/record.ts';
import { imageOf } from '../../engine/storage/stored-record.ts';
import type { PgParameter, PgRow } from './pg-session.ts';

/** Parameters of `readStatement`. */
export function readParameters(kind: RecordKind, map: Uint8Array, identities: readonly RecordIdentity[]): readonly PgParameter[] {
  const partitions = `{${identities.map(({ keyHash }) => partitionOf(keyHash)).join(',')}}`;
  const keys = byteaArray(identities.map(({ key }) => key));
  const parameters: PgParameter[] = [map, partitions, keys];
  if (kind === KIND_OR) parameters.push(byteaArray(identities.map(({ tag }) => tag)));
  return parameters;
}

/** The image of a row that `readStatement` answers, over bytes of its own. */
export function imageOfRow(row: PgRow): RecordImage {
  const key = bytesOf(row.key);
  const image = imageOf({
    kind: KIND_LWW, // of no consequence to an image
    map: key,
    keyHash: fnv1aUtf8(key, 0, key.length),
    key,
    tag: bytesOf(row.tag),
    node: bytesOf(row.node),
    value: row.tombstone === true ? new Uint8Array(0) : bytesOf(row.value),
    millis: Number(row.millis),
    counter: Number(row.counter),
    ttlMs: row.ttl_ms === null ? Number.NaN : Number(row.ttl_ms),
    tombstone: row.tombstone === true,
  });
  const provenance = Number(row.provenance);
  if (provenance === 1 || provenance === 2 || provenance === 3 || provenance === 4) image.provenance = provenance;
  return image;
}

function bytesOf(value: unknown): Uint8Array {
  if (value === null) return new Uint8Array(0); // an OR value that is nil is stored as nothing
  assert(value instanceof Uint8Array, 'a column of bytes');
  return value;
}

/** Text of a bytea[]; the backslash is escaped once more inside of the quotes. */
function byteaArray(items: readonly Uint8Array[]): string {
  const quoted = items.map((bytes) => `"\\\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}"`);
  return `{${quoted.join(',')}}`;
}
