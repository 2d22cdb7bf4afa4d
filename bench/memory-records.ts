/** The records of the memory benchmark: keys of 16 bytes, values of 64. */
import { encode } from '../engine/protocol/codec.ts';

const VALUE = 'v'.repeat(64);
const KEY_DIGITS = 9;

export function keyOf(record: number): string {
  return `record-${String(record).padStart(KEY_DIGITS, '0')}`;
}

/** The end of it is the record's own, so that no store can keep it once for all. */
export function recordValue(record: number): string {
  return `${VALUE}${record}`.slice(-VALUE.length);
}

/** An OP_BATCH frame with the records from `first` on. */
export function frameOf(first: number, count: number, millis: number, key = keyOf): Uint8Array {
  const ops = Array.from({ length: count }, (_, index) => ({
    id: String(first + index + 1),
    mapName: 'bench',
    key: key(first + index),
    record: {
      value: recordValue(first + index),
      timestamp: { millis, counter: index, nodeId: 'loader' },
    },
  }));
  return encode({ type: 'OP_BATCH', payload: { ops } }).slice();
}
