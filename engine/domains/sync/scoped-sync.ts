/**
 * The questions of anti-entropy, answered for subjects with row rules: by scans of what they see (scoped-leaves.ts) instead
 * of the shared tree.
 */
import { assert } from '../../assert.ts';
import type { RequestAnswer } from '../../operation/request-handler.ts';
import { REQUEST_LEAF, REQUEST_LEAVES, REQUEST_OR_DIFF } from '../../protocol/envelope.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import { KIND_OR } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import { JUDGED_ALLOWED, type RowJudge } from '../crdt/row-judge.ts';
import type { GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';
import type { RecordImage } from '../../storage/record.ts';
import { NO_SCOPE, type RowView } from '../security/access.ts';
import type { ScopeTable } from '../security/scope-table.ts';
import { ItemParts } from './item-parts.ts';
import type { ScopedLeaves } from './scoped-leaves.ts';
import type { SyncQuestion } from './sync-requests.ts';

export class ScopedSync {
  readonly #maps: MapCatalogue;
  readonly #scopes: ScopeTable;
  readonly #leaves: ScopedLeaves;
  readonly #catchUp: () => void;
  readonly #judge: RowJudge;

  constructor(maps: MapCatalogue, scopes: ScopeTable, leaves: ScopedLeaves, judge: RowJudge, catchUp: () => void = () => {}) {
    this.#judge = judge;
    this.#maps = maps;
    this.#scopes = scopes;
    this.#leaves = leaves;
    this.#catchUp = catchUp;
  }

  /** The map as whoever asks sees it. Throws GridError UNAVAILABLE. */
  view(gateway: number, scope: number, map: Uint8Array): RowView {
    return this.#scopes.rows(gateway, scope, decodeText(map, 0, map.length));
  }

  /** @param asker its session: sessions take turns */
  answer(kind: number, { map, kind: recordKind, prefix, keys }: SyncQuestion, view: RowView, asker: string): RequestAnswer {
    this.#catchUp();
    const found = this.#maps.find(map);
    if (kind === REQUEST_LEAVES) return this.#leaves.leaves(found?.existing(recordKind), view, prefix, asker);
    if (kind === REQUEST_LEAF) return this.#leaves.leaf(found?.existing(recordKind), view, prefix, asker);
    assert(kind === REQUEST_OR_DIFF, `request of kind ${kind}`);
    const store = found?.existing(KIND_OR);
    return store === undefined ? new ItemParts().finish() : this.#leaves.diff(store, view, keys, asker);
  }

  /** The session is gone. */
  forget(asker: string): void {
    this.#leaves.forget(asker);
  }

  /** The entries of keys of which a push said something that does not hold. */
  corrections(out: ItemParts, store: RecordStore, view: RowView, removedOf: ReadonlyMap<string, ReadonlySet<string>>): void {
    this.#leaves.orKeys(out, store, view, removedOf);
  }

  /** True when the subject of the scope may join this record of a push; its hidden fields are cut. */
  mayJoin(gateway: number, scope: number, map: GridMap, image: RecordImage, nowMs: number): boolean {
    return scope === NO_SCOPE || this.#judge.judge(map, image, gateway, scope, nowMs) === JUDGED_ALLOWED;
  }
}
