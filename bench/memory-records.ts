/** The records of the memory benchmark: keys of 16 bytes, values of 64. */
import { encode } from '../engine/protocol/codec.ts';

export const VALUE = 'v'.repeat(64);
const KEY_DIGITS = 9;

export function keyOf(record: number): string {
  return `record-${String(record).padStart(KEY_DIGITS, '0')}`;
}

/** An OP_BATCH frame with the records from `first` on. */
export function frameOf(first: number, count: number, millis: number, key = keyOf): Uint8Array {
  const ops = Array.from({ length: count }, (_, index) => ({
    id: String(first + index + 1),
    mapName: 'bench',
    key: key(first + index),
    record: {
      value: `${VALUE}${first + index}`.slice(-VALUE.length),
      timestamp: { millis, counter: index, nodeId: 'loader' },
    },
  }));
  return encode({ type: 'OP_BATCH', payload: { ops } }).slice();
}
