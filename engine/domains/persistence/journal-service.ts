/**
 * The journal of one worker: every change of its records, numbered, for a while.
 *
 *   join ─▶ changing (what it was) ─▶ changed (what it is) ─▶ copied, numbered ─▶ ring ─▶ gateways that wait: woken
 *   READ from a gateway ─▶ page of the ring, encoded, and `next`: the number that no event of this worker is below any more
 *
 * Numbers come from one counter of all workers (journal-sequence.ts). A worker takes a number and keeps the event in one go, and
 * answers and wakes leave behind the log, so whatever a page shows is logged. A gateway asks all workers at once and
 * shows events below the lowest `next`: order holds over workers without any of them waiting for another.
 *
 *   LWW   value over nothing or a removal: PUT     value over a value: UPDATE     removal of a value: DELETE     else no event
 *   OR    a value added: PUT                       a value removed: DELETE
 *
 * Removals by expiry are DELETEs like others. The previous value is left out where it was dropped from memory.
 * Nothing is recorded, and it costs a branch a write, until somebody asks or the option says `on`.
 *
 * Source: docs/PROTOCOL.md §9.1.
 */
import { assert } from '../../assert.ts';
import type { GridRequest, PushSink, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { PUSH_JOURNAL, REQUEST_JOURNAL_READ } from '../../protocol/envelope.ts';
import { MessageWriter } from '../../protocol/msgpack-writer.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import type { StagedSource } from '../../storage/map-data-store.ts';
import { KIND_OR, RecordImage } from '../../storage/record.ts';
import type { CompositeObserver, RecordObserver } from '../../storage/record-observer.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { ChangeChunks, JournaledChange, PreviousValue } from './journal-event.ts';
import { type JournalEvent, type JournalLimits, JournalRing } from './journal-ring.ts';
import type { JournalSequence } from './journal-sequence.ts';
import { decodeRead, encodePage, JOURNAL_TYPES, type JournalRead, type JournalType, type PagedEvent } from './journal-wire.ts';
import type { MapPatterns } from './map-patterns.ts';

/** Events that one request looks at, wanted or not. */
const LOOKED_MAX = 50_000;
const NO_BODY = new Uint8Array(0);

export interface JournalServiceOptions extends JournalLimits {
  readonly sequence: JournalSequence;
  readonly maps: MapPatterns;
  readonly observers: CompositeObserver;
  readonly pushes: PushSink;
  readonly nowMs: () => number;
  /** Records from the start, asked or not. */
  readonly begins: boolean;
  /** An earlier thread of this worker may have recorded events, which are lost. */
  readonly isReplacement: boolean;
  readonly onRecorded?: (journal: JournalService) => void;
}

/** What is known of a store: looked up once. */
interface JournaledMap {
  readonly name: string;
  readonly isWanted: boolean;
}

export class JournalService implements RequestHandler, RecordObserver {
  readonly kinds: readonly number[] = [REQUEST_JOURNAL_READ];
  readonly writeKinds: readonly number[] = [];
  readonly watchesOld = true;
  readonly ring: JournalRing;
  /** Events recorded. */
  recorded = 0;
  readonly #options: JournalServiceOptions;
  readonly #stores = new Map<StagedSource, JournaledMap>();
  /** Gateways to be woken at the next event. */
  readonly #waiting = new Set<number>();
  readonly #image = new RecordImage();
  readonly #writer = new MessageWriter();
  /** Of the record that is being overwritten: was it live, and its value where it is known. */
  #wasLive = false;
  readonly #previous = new PreviousValue();
  readonly #chunks = new ChangeChunks();
  #records = false;

  constructor(options: JournalServiceOptions) {
    this.#options = options;
    const { sequence, isReplacement, begins } = options;
    this.ring = new JournalRing(options, isReplacement && sequence.asked ? sequence.next - 1 : 0);
    if (begins) sequence.ask();
    if (sequence.asked) this.#begin();
  }

  answer({ kind, body, gateway }: GridRequest): RequestAnswer {
    assert(kind === REQUEST_JOURNAL_READ, `request of kind ${kind}`);
    this.#begin();
    const read = decodeRead(body);
    this.ring.expire(this.#options.nowMs());
    const page = this.#page(read);
    if (read.wakes) this.#waiting.add(gateway);
    return [page];
  }

  changing(store: StagedSource, ref: RecordRef): void {
    if (ref === 0 || !this.#mapOf(store).isWanted) return;
    const image = this.#image;
    store.read(ref, image);
    this.#wasLive = !image.tombstone;
    if (this.#wasLive && !image.evicted) this.#previous.keep(image);
    else this.#previous.forget();
  }

  changed(store: StagedSource, ref: RecordRef, previousExisted: boolean): void {
    const map = this.#mapOf(store);
    if (!map.isWanted) return;
    const wasLive = previousExisted && this.#wasLive;
    if (!wasLive) this.#previous.forget();
    this.#wasLive = false;
    store.read(ref, this.#image);
    const type = typeOf(store, this.#image, wasLive);
    if (type !== undefined) this.#record(map, type);
  }

  #begin(): void {
    if (this.#records) return;
    this.#records = true;
    this.#options.observers.add(this);
  }

  #mapOf(store: StagedSource): JournaledMap {
    const known = this.#stores.get(store);
    if (known !== undefined) return known;
    const name = decodeText(store.map, 0, store.map.length);
    const map = { name, isWanted: this.#options.maps.fits(name) };
    this.#stores.set(store, map);
    return map;
  }

  #record(map: JournaledMap, type: JournalType): void {
    const { sequence, pushes, nowMs } = this.#options;
    const change = new JournaledChange(this.#image, type !== 'DELETE', this.#previous, this.#chunks);
    const atMs = nowMs();
    this.ring.expire(atMs);
    this.ring.add({ number: sequence.take(), type, map: map.name, atMs, change });
    this.recorded += 1;
    this.#options.onRecorded?.(this);
    if (this.#waiting.size === 0) return;
    for (const gateway of this.#waiting) pushes.push(gateway, 0, PUSH_JOURNAL, NO_BODY);
    this.#waiting.clear();
  }

  #page(read: JournalRead): Uint8Array {
    const { ring } = this;
    const events: PagedEvent[] = [];
    let bytes = 0;
    const start = ring.positionOf(read.from);
    let position = start;
    for (let event = ring.at(position); event !== undefined; event = ring.at(position)) {
      const isFull = events.length >= read.events || (bytes > 0 && bytes + event.change.bytes > read.bytes);
      if (isFull || position - start >= LOOKED_MAX) break;
      position += 1;
      const type = JOURNAL_TYPES[event.type];
      if ((type & read.types) === 0 || (read.map !== undefined && event.map !== read.map)) continue;
      const encoded = this.#encoded(event);
      events.push({ number: event.number, type, map: event.map, bytes: encoded });
      bytes += encoded.length;
    }
    const further = ring.at(position);
    const next = further?.number ?? this.#options.sequence.next;
    return encodePage({ next, dropped: ring.droppedNumber, full: further !== undefined, events });
  }

  #encoded({ number, type, map, change }: JournalEvent): Uint8Array {
    const writer = this.#writer;
    writer.reset();
    change.encode(writer, this.#options.sequence.textOf(number), type, map);
    return writer.bytes.slice(0, writer.length);
  }
}

/** What kind of event the change is; undefined when nothing changed for readers. */
function typeOf(store: StagedSource, image: RecordImage, wasLive: boolean): JournalType | undefined {
  if (image.tombstone) return wasLive ? 'DELETE' : undefined;
  return wasLive && store.kind !== KIND_OR ? 'UPDATE' : 'PUT';
}
