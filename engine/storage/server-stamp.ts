/** The clock of a write that comes without one: it wins over what is stored, whatever that says of the time. */
import { RecordImage } from './record.ts';
import type { RecordRef } from './storage.ts';

const COUNTER_MAX = 0xffffffff;

/** A store that is asked for the record a write will meet; a RecordStore is one. */
export interface StampedStore {
  find(image: RecordImage): RecordRef;
  read(ref: RecordRef, into: RecordImage): void;
}

/** Stamps the image with now, but strictly after the record stored under its key and tag. */
export function stampAfter(store: StampedStore, image: RecordImage, nowMs: number): void {
  const ref = store.find(image);
  image.millis = Math.floor(nowMs);
  image.counter = 0;
  if (ref === 0) return;
  const stored = new RecordImage();
  store.read(ref, stored);
  if (stored.millis < image.millis) return;
  const overflows = stored.counter === COUNTER_MAX;
  image.millis = overflows ? stored.millis + 1 : stored.millis;
  image.counter = overflows ? 0 : stored.counter + 1;
}
