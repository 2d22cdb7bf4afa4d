/**
 * May this write be joined? Asked of writes whose map has row rules for their writer; by the worker that owns the row.
 *
 *   put      the row that is there must allow it, and so must the one that would be there; hidden fields stay as they are
 *   remove   the row must be there and allow it
 *
 * A refusal is FORBIDDEN and nothing more: a removal is refused alike where the row is hidden and where there is none. A write
 * that comes again, as clients send them, is recognised by its stamp or tag and counts as handled without being joined: equal
 * stamps with other values would be judged by their bytes, which a stranger could choose.
 */
import { assert } from '../../assert.ts';
import { compareLwwStamps } from '../../crdt/lww.ts';
import { errorNumber } from '../../protocol/errors.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import { isExpiredImage } from '../../storage/expired-record.ts';
import { KIND_LWW, KIND_OR, RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { JUDGED_ALLOWED, JUDGED_REPEAT, type RowJudge } from '../crdt/row-judge.ts';
import type { GridMap } from '../crdt/map-catalogue.ts';
import { HIDDEN } from './access.ts';
import type { Grants } from './grants.ts';
import type { ScopeTable } from './scope-table.ts';
import { replaceValue, decodedValue } from './row-value.ts';

const FORBIDDEN = errorNumber('FORBIDDEN');
const UNAVAILABLE = errorNumber('UNAVAILABLE');

export class WriteJudge implements RowJudge {
  readonly #scopes: ScopeTable;
  readonly #onValueNeeded: (store: RecordStore, ref: RecordRef) => void;
  readonly #stored = new RecordImage();

  /** @param onValueNeeded a write can only be judged by the value of this record, which was dropped from memory: read it back. */
  constructor(scopes: ScopeTable, onValueNeeded: (store: RecordStore, ref: RecordRef) => void) {
    this.#scopes = scopes;
    this.#onValueNeeded = onValueNeeded;
  }

  judge(map: GridMap, image: RecordImage, gateway: number, scope: number, nowMs: number): number {
    const grants = this.#scopes.find(gateway, scope);
    return grants === undefined ? UNAVAILABLE : this.#judge(grants, map, image, nowMs);
  }

  #judge(grants: Grants, map: GridMap, image: RecordImage, nowMs: number): number {
    const name = decodeText(map.name, 0, map.name.length);
    const action = image.tombstone ? 'remove' : 'write';
    const decision = grants.decide(action, name);
    if (decision !== 'rows') return decision === 'allow' ? JUDGED_ALLOWED : FORBIDDEN;
    const store = map.existing(image.tagBytes > 0 ? KIND_OR : KIND_LWW);
    const ref = store?.find(image) ?? 0;
    if (store !== undefined && ref !== 0) {
      store.read(ref, this.#stored);
      if (this.#isRepeat(store, image)) return JUDGED_REPEAT;
    }
    const isLive = ref !== 0 && !this.#stored.tombstone && !isExpiredImage(this.#stored, nowMs);
    if (store !== undefined && isLive && this.#stored.evicted) {
      this.#onValueNeeded(store, ref);
      return UNAVAILABLE;
    }
    const stored = isLive ? decodedValue(this.#stored) : undefined;
    if (stored === HIDDEN) return FORBIDDEN;
    const key = decodeText(image.source, image.keyStart, image.keyStart + image.keyBytes);
    if (isLive && !grants.rule(action, name).allows(stored, key)) return FORBIDDEN;
    if (image.tombstone) return isLive ? JUDGED_ALLOWED : FORBIDDEN;
    return this.#judgePut(grants, name, image, stored, key);
  }

  #judgePut(grants: Grants, name: string, image: RecordImage, stored: unknown, key: string): number {
    const written = decodedValue(image);
    if (written === HIDDEN) return FORBIDDEN;
    const kept = grants.rule('read', name).keepHidden(written, stored, key);
    if (kept === HIDDEN || !grants.rule('write', name).allows(kept, key)) return FORBIDDEN;
    if (kept !== written) replaceValue(image, kept);
    return JUDGED_ALLOWED;
  }

  /** An OR-Map's record never changes but to a tombstone; one of another kind is told by its stamp. */
  #isRepeat(store: RecordStore, image: RecordImage): boolean {
    assert(store.kind === KIND_LWW || image.tagBytes > 0, 'a record of an OR-Map has a tag');
    if (store.kind === KIND_OR) return !image.tombstone || this.#stored.tombstone;
    return !Number.isNaN(image.millis) && compareLwwStamps(this.#stored, image) === 0;
  }
}
