/** The place where a page begins, as a text that clients hand back: base64url of leaf (two bytes) and key. */
import type { PagePosition } from '../../engine/domains/records/record-requests.ts';
import { fnv1aUtf8 } from '../../engine/partition/hash.ts';
import { GridError } from '../../engine/protocol/errors.ts';

const LEAF_SHIFT = 20;
const LEAF_BYTES = 2;
const TEXT = /^[A-Za-z0-9_-]+$/;

export function cursorText({ leaf, key }: PagePosition): string {
  return Buffer.concat([Uint8Array.of(leaf >>> 8, leaf & 0xff), key]).toString('base64url');
}

/** Throws GridError BAD_REQUEST for what is no cursor of ours. */
export function positionOfCursor(text: string | undefined): PagePosition | undefined {
  if (text === undefined) return undefined;
  const bytes = TEXT.test(text) ? new Uint8Array(Buffer.from(text, 'base64url')) : new Uint8Array(0);
  const [high = 0, low = 0] = bytes;
  const leaf = (high << 8) | low;
  const key = bytes.subarray(LEAF_BYTES);
  const isOurs = bytes.length >= LEAF_BYTES && fnv1aUtf8(key, 0, key.length) >>> LEAF_SHIFT === leaf;
  if (!isOurs) throw new GridError('BAD_REQUEST', 'cursor: not one that this server gave');
  return { leaf, key };
}
