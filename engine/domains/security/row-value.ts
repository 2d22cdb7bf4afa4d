/**
 * The values of record images, for those who judge rows: decoded, and replaced by what may be seen or stored.
 */
import { decode, encode } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';
import type { RecordImage } from '../../storage/record.ts';
import { HIDDEN, type RowView } from './access.ts';

/** The value of a live image; HIDDEN when its bytes cannot be decoded, so that nobody is shown what nobody could judge. */
export function decodedValue(image: RecordImage): unknown {
  if (image.valueBytes === 0) return null; // nil is stored as nothing
  try {
    return decode(image.source, image.valueStart, image.valueStart + image.valueBytes);
  } catch (error) {
    if (!(error instanceof GridError)) throw error;
    return HIDDEN;
  }
}

/** Lets the image show what the view shows of its value. False when that is nothing; then the image is as it was. */
export function showIn(view: RowView, image: RecordImage, key: string): boolean {
  const value = decodedValue(image);
  const seen = value === HIDDEN ? HIDDEN : view.see(value, key);
  if (seen === HIDDEN) return false;
  if (seen !== value) replaceValue(image, seen);
  return true;
}

/** Gives the image another value. All its spans move into bytes of their own. */
export function replaceValue(image: RecordImage, value: unknown): void {
  const { source, keyStart, keyBytes, tagStart, tagBytes, nodeStart, nodeBytes } = image;
  const bytes = encode(value);
  const joined = new Uint8Array(keyBytes + tagBytes + nodeBytes + bytes.length);
  joined.set(source.subarray(keyStart, keyStart + keyBytes), 0);
  joined.set(source.subarray(tagStart, tagStart + tagBytes), keyBytes);
  joined.set(source.subarray(nodeStart, nodeStart + nodeBytes), keyBytes + tagBytes);
  joined.set(bytes, keyBytes + tagBytes + nodeBytes);
  image.source = joined;
  image.keyStart = 0;
  image.tagStart = keyBytes;
  image.nodeStart = keyBytes + tagBytes;
  image.valueStart = keyBytes + tagBytes + nodeBytes;
  image.valueBytes = bytes.length;
}
