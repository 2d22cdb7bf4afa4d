/**
 * The messages inside a BATCH, in either layout that exists:
 *
 *   client's   u32 LE count · count × ( u32 LE length · message )
 *   server's                  until the end: ( u32 BE length · message )
 *
 * Nothing in the bytes says which it is, so a layout counts when a walk through it ends exactly at the last byte; the
 * client's is tried first. Source: docs/PROTOCOL.md §1.3.
 */

/** Messages that one BATCH may hold. */
export const BATCH_ITEMS_MAX = 8192;

/** Where a message stands: `data[start, end)`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The spans of the messages in `data`, in order; undefined when neither layout fits or there are more than BATCH_ITEMS_MAX. */
export function batchItems(data: Uint8Array): readonly Span[] | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return countedItems(view) ?? uncountedItems(view);
}

function countedItems(view: DataView): Span[] | undefined {
  if (view.byteLength < 4) return undefined;
  const count = view.getUint32(0, true);
  if (count > BATCH_ITEMS_MAX) return undefined;
  const items = itemsFrom(view, 4, true);
  return items?.length === count ? items : undefined;
}

function uncountedItems(view: DataView): Span[] | undefined {
  return itemsFrom(view, 0, false);
}

function itemsFrom(view: DataView, from: number, littleEndian: boolean): Span[] | undefined {
  const items: Span[] = [];
  let at = from;
  while (at < view.byteLength) {
    if (at + 4 > view.byteLength || items.length === BATCH_ITEMS_MAX) return undefined;
    const start = at + 4;
    at = start + view.getUint32(at, littleEndian);
    if (at > view.byteLength) return undefined;
    items.push({ start, end: at });
  }
  return items;
}
