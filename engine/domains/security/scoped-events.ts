/**
 * Change events for sessions with row rules: judged row by row, made once for all sessions of a scope.
 *
 *   row before      row after
 *   seen or not     seen               PUT or OR_ADD, with what is seen of it
 *   seen            removed            REMOVE or OR_REMOVE
 *   seen            hidden             the map is to be reset: no removal is faked, since clients would push it back
 *   hidden          removed, hidden    nothing
 *   dropped from    removed, hidden    the map is to be reset: whether it was seen cannot be told
 *   memory
 *
 * Watches the stores only while some session with row rules listens, and decodes only what rows decide about. Such a session
 * gets its own writes, too: they may have been stored with fields that it does not see.
 */
import { OP_OR_ADD, OP_OR_REMOVE, OP_PUT, OP_REMOVE } from '../../protocol/op-index.ts';
import { MessageWriter } from '../../protocol/msgpack-writer.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import { PUSH_SCOPED_EVENT } from '../../protocol/envelope.ts';
import type { PushSink } from '../../operation/request-handler.ts';
import type { StagedSource } from '../../storage/map-data-store.ts';
import { isExpiredImage } from '../../storage/expired-record.ts';
import { KIND_OR, RecordImage } from '../../storage/record.ts';
import type { RecordObserver } from '../../storage/record-observer.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { encodeEvent, type EventKind } from '../crdt/change-events.ts';
import { HIDDEN } from './access.ts';
import { replaceValue, decodedValue } from './row-value.ts';
import type { Scope, ScopeTable } from './scope-table.ts';

/** What a push says: two words, then the event, or for a reset the name of the map. */
export const SCOPED_EVENT_BYTES = 0;
export const SCOPED_RESET_LWW = 1;

/** The row before the change: its value, NOTHING, or UNKNOWN. */
const NOTHING = Symbol('no row');
const UNKNOWN = Symbol('value not in memory');

export class ScopedEvents implements RecordObserver {
  readonly watchesOld = true;
  readonly #scopes: ScopeTable;
  readonly #pushes: PushSink;
  readonly #nowMs: () => number;
  readonly #image = new RecordImage();
  readonly #out = new MessageWriter();
  #old: unknown = NOTHING;
  /** Scopes for which rows of the map at hand decide. */
  #judging: readonly Scope[] = [];

  constructor(scopes: ScopeTable, pushes: PushSink, nowMs: () => number) {
    this.#scopes = scopes;
    this.#pushes = pushes;
    this.#nowMs = nowMs;
  }

  /** The record at `ref` (0: none yet) is about to be overwritten. */
  changing(store: StagedSource, ref: RecordRef): void {
    const name = decodeText(store.map, 0, store.map.length);
    this.#judging = this.#scopes.listening.filter(({ grants }) => grants.decide('read', name) === 'rows');
    this.#old = NOTHING;
    if (this.#judging.length === 0 || ref === 0) return;
    store.read(ref, this.#image);
    if (this.#image.tombstone) return;
    this.#old = this.#image.evicted ? UNKNOWN : decodedValue(this.#image);
  }

  changed(store: StagedSource, ref: RecordRef): void {
    if (this.#judging.length === 0) return;
    const image = this.#image;
    store.read(ref, image);
    const name = decodeText(store.map, 0, store.map.length);
    const key = decodeText(image.source, image.keyStart, image.keyStart + image.keyBytes);
    const isGone = image.tombstone || isExpiredImage(image, this.#nowMs());
    const value = isGone ? HIDDEN : decodedValue(image);
    const kind = store.kind === KIND_OR ? (isGone ? OP_OR_REMOVE : OP_OR_ADD) : isGone ? OP_REMOVE : OP_PUT;
    for (const scope of this.#judging) {
      const view = scope.grants.rows(name);
      const seen = value === HIDDEN ? HIDDEN : view.see(value, key);
      const wasSeen = typeof this.#old !== 'symbol' && view.see(this.#old, key) !== HIDDEN;
      if (seen !== HIDDEN) this.#tellRow(scope, store, ref, kind, seen === value ? undefined : { seen });
      else if (isGone && wasSeen) this.#tellRow(scope, store, ref, kind, undefined);
      else if (wasSeen || this.#old === UNKNOWN) this.#push(scope, SCOPED_RESET_LWW, store.map);
    }
  }

  #tellRow(scope: Scope, store: StagedSource, ref: RecordRef, kind: EventKind, cut: { seen: unknown } | undefined): void {
    store.read(ref, this.#image);
    if (cut !== undefined) replaceValue(this.#image, cut.seen);
    encodeEvent(this.#out, store.map, kind, this.#image);
    this.#push(scope, SCOPED_EVENT_BYTES, this.#out.bytes.subarray(0, this.#out.length));
  }

  #push({ gateway, number }: Scope, what: number, body: Uint8Array): void {
    const bytes = new Uint8Array(8 + body.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, number, true);
    view.setUint32(4, what, true);
    bytes.set(body, 8);
    this.#pushes.push(gateway, 0, PUSH_SCOPED_EVENT, bytes);
  }
}
