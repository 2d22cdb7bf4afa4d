/**
 * The indexes of a worker: made as they are defined, built beside the work, kept as rows change.
 *
 *   definition ─▶ waiting ─ a pass over the map, in slices ─▶ ready ─▶ usable by plans (query-plan.ts)
 *                            ▲ values could not be read back: again later
 *   any change of a row ─▶ decoded once ─▶ put into every index of its map, also into one that is being built
 *   too many bytes ─▶ full: empty, and not used
 *
 * A row is put by whichever comes later, the pass or a change, each with the value of that moment: at the end all rows are right.
 * A removed row is taken out; one that has expired stays until its removal and is passed over when it is judged. Dropping a
 * value from memory changes nothing here. While there are no indexes nothing is watched.
 */
import type { Definition, Definitions } from '../../operation/definitions.ts';
import type { RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { encode } from '../../protocol/codec.ts';
import { REQUEST_INDEXES } from '../../protocol/envelope.ts';
import { GridError } from '../../protocol/errors.ts';
import { encodeText } from '../../protocol/wire-text.ts';
import { isExpiredImage } from '../../storage/expired-record.ts';
import type { StagedSource } from '../../storage/map-data-store.ts';
import { KIND_LWW, RecordImage } from '../../storage/record.ts';
import type { CompositeObserver, RecordObserver } from '../../storage/record-observer.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { MapCatalogue } from '../crdt/map-catalogue.ts';
import { attributeReader, type ReadAttribute } from './attribute.ts';
import type { AttributeIndex } from './attribute-index.ts';
import { HashIndex } from './hash-index.ts';
import { type IndexDefinition, parseIndexBody } from './index-definition.ts';
import { indexValueOf } from './index-value.ts';
import { OrderedIndex } from './ordered-index.ts';
import type { UsableIndex } from './query-plan.ts';
import { decodedValue, keyOf, type RowEnvironment, RowPass } from './row-pass.ts';

/** The indexes that a query may use. */
export interface UsableIndexes {
  /** Those of the map that have all of its rows. */
  of(map: Uint8Array): readonly UsableIndex[];
}

export const NO_INDEXES: UsableIndexes = { of: () => [] };

export interface IndexKeeperOptions {
  readonly maps: MapCatalogue;
  readonly definitions: Definitions;
  readonly observers: CompositeObserver;
  readonly rows: RowEnvironment;
  /** Memory of all indexes here. */
  readonly bytesMax: number;
  readonly warn: (text: string) => void;
  /** Told of the sizes, after changes. */
  readonly onSizes?: (entries: number, bytes: number) => void;
}

export type IndexState = 'waiting' | 'building' | 'ready' | 'full';

/** Pause before a build that failed is tried again, ms. */
const RETRY_MS = 1000;

class KeptIndex implements UsableIndex {
  readonly definition: IndexDefinition;
  readonly read: ReadAttribute;
  index: AttributeIndex;
  state: IndexState = 'waiting';
  /** Wall clock before which it is not built (again), ms. */
  retryAtMs = 0;

  constructor(definition: IndexDefinition) {
    this.definition = definition;
    this.read = attributeReader(definition.attribute);
    this.index = newIndex(definition);
  }

  get attribute(): string {
    return this.definition.attribute;
  }
}

/** The indexes of one map. */
interface MapIndexes {
  readonly name: Uint8Array;
  readonly byAttribute: Map<string, KeptIndex>;
  usable: readonly KeptIndex[];
}

export class IndexKeeper implements RequestHandler, RecordObserver, UsableIndexes {
  readonly kinds = [REQUEST_INDEXES] as const;
  readonly writeKinds = [] as const;
  /** Memory of all indexes, about. */
  bytes = 0;
  readonly #options: IndexKeeperOptions;
  readonly #maps = new Map<string, MapIndexes>();
  /** Definition → its index. */
  readonly #byName = new Map<string, KeptIndex>();
  readonly #byStore = new Map<StagedSource, MapIndexes | undefined>();
  readonly #image = new RecordImage();
  #isBuilding = false;

  constructor(options: IndexKeeperOptions) {
    this.#options = options;
    options.definitions.watch('index', (definition) => this.#defined(definition));
  }

  of(map: Uint8Array): readonly UsableIndex[] {
    return this.#maps.size === 0 ? NONE : (this.#maps.get(nameKey(map))?.usable ?? NONE);
  }

  /** What is here of each index. */
  answer(): RequestAnswer {
    const rows = [...this.#byName].map(([name, { state, index }]) => [name, state, index.entries, index.bytes]);
    return [encode(rows).slice()];
  }

  changed(store: StagedSource, ref: RecordRef): void {
    if (store.kind !== KIND_LWW) return;
    let indexes = this.#byStore.get(store);
    if (indexes === undefined) {
      if (this.#byStore.has(store)) return;
      indexes = this.#maps.get(nameKey(store.map));
      this.#byStore.set(store, indexes);
      if (indexes === undefined) return;
    }
    this.#changed(indexes, store, ref);
  }

  tick(nowMs: number): void {
    if (!this.#isBuilding) this.#buildNext(nowMs);
    let entries = 0;
    for (const { index } of this.#byName.values()) entries += index.entries;
    this.#options.onSizes?.(entries, this.bytes);
  }

  #changed({ byAttribute }: MapIndexes, store: StagedSource, ref: RecordRef): void {
    const image = this.#image;
    store.read(ref, image);
    const key = keyOf(image);
    if (key === undefined) return;
    const isLive = !image.tombstone && !isExpiredImage(image, this.#options.rows.nowMs());
    const value = isLive ? decodedValue(image) : undefined;
    for (const kept of byAttribute.values()) {
      if (kept.state !== 'ready' && kept.state !== 'building') continue;
      if (value === undefined) this.#take(kept, key);
      else this.#put(kept, key, value);
    }
  }

  #put(kept: KeptIndex, key: string, value: unknown): void {
    const { index } = kept;
    const before = index.bytes;
    index.put(key, indexValueOf(kept.read(value, key)));
    this.bytes += index.bytes - before;
    if (this.bytes > this.#options.bytesMax) this.#full(kept);
  }

  #take({ index }: KeptIndex, key: string): void {
    const before = index.bytes;
    index.remove(key);
    this.bytes += index.bytes - before;
  }

  #full(kept: KeptIndex): void {
    const { map, attribute } = kept.definition;
    this.#options.warn(
      `the index of '${attribute}' of map '${map}' is not kept: indexes would take more than ${this.#options.bytesMax} bytes here`,
    );
    this.#empty(kept, 'full');
  }

  #empty(kept: KeptIndex, state: IndexState): void {
    this.bytes -= kept.index.bytes;
    kept.index = newIndex(kept.definition);
    this.#setState(kept, state);
  }

  #setState(kept: KeptIndex, state: IndexState): void {
    kept.state = state;
    const map = this.#maps.get(nameKey(encodeText(kept.definition.map)));
    if (map !== undefined) map.usable = [...map.byAttribute.values()].filter((one) => one.state === 'ready');
  }

  #defined({ name, body }: Definition): void {
    const known = this.#byName.get(name);
    if (known !== undefined) this.#remove(name, known);
    if (body === undefined) return;
    try {
      this.#add(name, new KeptIndex(parseIndexBody(body)));
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#options.warn(`index ${name} is not kept: ${error.message}`);
    }
  }

  #add(name: string, kept: KeptIndex): void {
    const map = encodeText(kept.definition.map);
    const text = nameKey(map);
    if (this.#maps.size === 0) this.#options.observers.add(this);
    let indexes = this.#maps.get(text);
    if (indexes === undefined) {
      indexes = { name: map, byAttribute: new Map(), usable: [] };
      this.#maps.set(text, indexes);
      this.#byStore.clear();
    }
    indexes.byAttribute.set(kept.attribute, kept);
    this.#byName.set(name, kept);
  }

  #remove(name: string, kept: KeptIndex): void {
    this.#empty(kept, 'full');
    this.#byName.delete(name);
    const text = nameKey(encodeText(kept.definition.map));
    const indexes = this.#maps.get(text);
    indexes?.byAttribute.delete(kept.attribute);
    if (indexes === undefined || indexes.byAttribute.size > 0) return;
    this.#maps.delete(text);
    this.#byStore.clear();
    if (this.#maps.size === 0) this.#options.observers.remove(this);
  }

  /** Builds the indexes of one map that wait for it, all in one pass. */
  #buildNext(nowMs: number): void {
    for (const { name, byAttribute } of this.#maps.values()) {
      const waiting = [...byAttribute.values()].filter(({ state, retryAtMs }) => state === 'waiting' && retryAtMs <= nowMs);
      if (waiting.length === 0) continue;
      for (const kept of waiting) this.#setState(kept, 'building');
      const store = this.#options.maps.find(name)?.existing(KIND_LWW);
      if (store === undefined) return this.#built(waiting);
      void this.#build(store, waiting);
      return;
    }
  }

  async #build(store: RecordStore, building: readonly KeptIndex[]): Promise<void> {
    this.#isBuilding = true;
    const { rows } = this.#options;
    const cursor = store.cursor();
    const take = (key: string, value: unknown): number => {
      for (const kept of building) if (kept.state === 'building') this.#put(kept, key, value);
      return 0;
    };
    const pass = new RowPass(store, () => cursor.next(), take, rows);
    try {
      for (let step = pass.step(); step !== 'done'; step = pass.step()) {
        if (step === 'read') await pass.readBack();
        else await rows.nextTurn();
        if (building.every(({ state }) => state !== 'building')) break;
      }
      this.#built(building);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#failed(building);
    } finally {
      this.#isBuilding = false;
    }
  }

  #built(building: readonly KeptIndex[]): void {
    for (const kept of building) if (kept.state === 'building') this.#setState(kept, 'ready');
  }

  /** Values could not be read back: what is there is not all. */
  #failed(building: readonly KeptIndex[]): void {
    for (const kept of building) {
      if (kept.state !== 'building') continue;
      this.#empty(kept, 'waiting');
      kept.retryAtMs = this.#options.rows.nowMs() + RETRY_MS;
    }
  }
}

const NONE: readonly UsableIndex[] = [];

function newIndex({ kind }: IndexDefinition): AttributeIndex {
  return kind === 'hash' ? new HashIndex() : new OrderedIndex();
}

/** Names differ by bytes. */
function nameKey(name: Uint8Array): string {
  let key = '';
  for (const byte of name) key += String.fromCharCode(byte);
  return key;
}
