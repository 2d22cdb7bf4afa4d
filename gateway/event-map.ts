/**
 * Reads the map's name out of an encoded change event: its first member (domains/crdt/change-events.ts).
 */
import { decodeText } from '../engine/protocol/wire-text.ts';

const MAP_NAME_AT = 1 + 1 + 'mapName'.length;

/** The map of an encoded event, whose first member it is. */
export function mapNameOf(event: Uint8Array): string {
  const token = event[MAP_NAME_AT] ?? 0xa0;
  const view = new DataView(event.buffer, event.byteOffset, event.byteLength);
  if (token === 0xd9) return textAt(event, MAP_NAME_AT + 2, view.getUint8(MAP_NAME_AT + 1));
  if (token === 0xda) return textAt(event, MAP_NAME_AT + 3, view.getUint16(MAP_NAME_AT + 1));
  return textAt(event, MAP_NAME_AT + 1, token & 0x1f);
}

function textAt(bytes: Uint8Array, start: number, length: number): string {
  return decodeText(bytes, start, start + length);
}
