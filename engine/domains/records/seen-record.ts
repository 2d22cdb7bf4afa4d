/** Copies of records for a door: what outlives the image, as its reader may see it. */
import { decodeText } from '../../protocol/wire-text.ts';
import type { RecordImage } from '../../storage/record.ts';
import { ALL_ROWS, type RowView } from '../security/access.ts';
import { showIn } from '../security/row-value.ts';
import type { SeenRecord } from './record-requests.ts';

/** The record as the view shows it; undefined when it is hidden, and for a removal when some rows are. A value must be in memory to be shown; the image shows it, too. */
export function seenRecord(image: RecordImage, view: RowView, withValue: boolean): SeenRecord | undefined {
  if (image.tombstone) return view === ALL_ROWS ? copied(image, undefined) : undefined; // nobody can say whose row it was
  if (view !== ALL_ROWS && !showIn(view, image, keyText(image))) return undefined;
  return copied(image, withValue ? bytesIn(image, image.valueStart, image.valueBytes) : undefined);
}

function keyText({ source, keyStart, keyBytes }: RecordImage): string {
  return decodeText(source, keyStart, keyStart + keyBytes);
}

function copied(image: RecordImage, value: Uint8Array | undefined): SeenRecord {
  return {
    key: bytesIn(image, image.keyStart, image.keyBytes),
    value,
    millis: image.millis,
    counter: image.counter,
    node: bytesIn(image, image.nodeStart, image.nodeBytes),
    ttlMs: Number.isNaN(image.ttlMs) ? undefined : image.ttlMs,
    isRemoval: image.tombstone,
  };
}

function bytesIn(image: RecordImage, start: number, bytes: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy.set(image.source.subarray(start, start + bytes));
  return copy;
}
