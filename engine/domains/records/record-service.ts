/**
 * Single records for doors without a clock of their own (HTTP): read, write under a condition, remove, page.
 *
 *   READ   in memory ─▶ at once; value dropped ─▶ when it was read back
 *   WRITE  condition on the stored stamp ─ guard of the map ─ stamp strictly after the stored one ─ join ─▶ behind the log
 *
 * Condition and write are one step on the thread that owns the key, so of two writers with the same condition one wins.
 */
import { assert } from '../../assert.ts';
import { fnv1aUtf8 } from '../../partition/hash.ts';
import type { GridRequest, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { REQUEST_RECORD_PAGE, REQUEST_RECORD_READ, REQUEST_RECORD_WRITE } from '../../protocol/envelope.ts';
import { ERROR_CODES, GridError } from '../../protocol/errors.ts';
import { KIND_LWW, RecordImage } from '../../storage/record.ts';
import { fitsBlock } from '../../storage/record-block.ts';
import { ALIKE_MAX, type RecordStore } from '../../storage/record-store.ts';
import { stampAfter } from '../../storage/server-stamp.ts';
import { storedRecord } from '../../storage/stored-record.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import type { CrdtService } from '../crdt/crdt-service.ts';
import type { GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';
import { JUDGED_ALLOWED, type RowJudge } from '../crdt/row-judge.ts';
import { ALL_ROWS, NO_SCOPE, type RowScopes, type RowView } from '../security/access.ts';
import { recordPage, type YieldTurn } from './record-page.ts';
import type { RecordReader } from './record-reader.ts';
import {
  encodeBody,
  encodeRecord,
  parsePage,
  parseRead,
  parseWrite,
  type ReadQuestion,
  type WriteOutcome,
  type WriteQuestion,
} from './record-requests.ts';
import { seenRecord } from './seen-record.ts';
import { stampText } from './stamp-text.ts';

/** Map and key together are a primary key in Postgres. */
const IDENTITY_BYTES_MAX = 2048;

export interface RecordServiceOptions {
  readonly maps: MapCatalogue;
  readonly crdt: CrdtService;
  readonly reader: RecordReader;
  readonly scopes: RowScopes;
  /** Judges writes of subjects with row rules. */
  readonly judge: RowJudge;
  /** Node id of this server in clocks, UTF-8. */
  readonly nodeId: Uint8Array;
  readonly yieldTurn: YieldTurn;
}

export class RecordService implements RequestHandler {
  readonly kinds: readonly number[] = [REQUEST_RECORD_READ, REQUEST_RECORD_WRITE, REQUEST_RECORD_PAGE];
  readonly writeKinds: readonly number[] = [REQUEST_RECORD_WRITE];
  readonly #options: RecordServiceOptions;
  readonly #image = new RecordImage();
  readonly #stored = new RecordImage();

  constructor(options: RecordServiceOptions) {
    this.#options = options;
  }

  answer(request: GridRequest): RequestAnswer {
    const { kind, body, gateway } = request;
    if (kind === REQUEST_RECORD_READ) return this.#read(parseRead(body), gateway);
    if (kind === REQUEST_RECORD_WRITE) return this.#answerWrite(parseWrite(body), request);
    assert(kind === REQUEST_RECORD_PAGE, `request of kind ${kind}`);
    const question = parsePage(body);
    const { reader, yieldTurn } = this.#options;
    const view = this.#view(gateway, question.scope, question.map);
    return recordPage(question, { store: this.#storeOf(question.map), view, reader, yieldTurn });
  }

  #read(question: ReadQuestion, gateway: number): RequestAnswer {
    const store = this.#storeOf(question.map);
    const view = this.#view(gateway, question.scope, question.map);
    const image = this.#image;
    pointAtKey(image, question.key);
    if (store === undefined || !this.#options.reader.find(store, image)) return [];
    if (image.evicted) return this.#readLate(store, question.key, view);
    return parts(image, view);
  }

  async *#readLate(store: RecordStore, key: Uint8Array, view: RowView): AsyncGenerator<Uint8Array, void, void> {
    const image = new RecordImage();
    pointAtKey(image, key);
    const wanted = storedRecord(KIND_LWW, store.map, image);
    const [read = []] = await this.#options.reader.read(store, [wanted], true, (found) => parts(found, view));
    yield* read;
  }

  /** Whether a row is seen can only be said by its value: a dropped one is read back first, for hidden rows as for others. */
  #answerWrite(question: WriteQuestion, request: GridRequest): RequestAnswer {
    const store = this.#storeOf(question.map);
    const stored = this.#stored;
    pointAtKey(stored, question.key);
    const isAway =
      question.scope !== NO_SCOPE && store !== undefined && this.#options.reader.find(store, stored) && stored.evicted;
    return isAway ? this.#writeLate(store, question, request) : [encodeBody(this.#write(question, request))];
  }

  async *#writeLate(store: RecordStore, question: WriteQuestion, request: GridRequest): AsyncGenerator<Uint8Array, void, void> {
    const image = new RecordImage();
    pointAtKey(image, question.key);
    await this.#options.reader.read(store, [storedRecord(KIND_LWW, store.map, image)], true, () => true);
    yield encodeBody(this.#write(question, request));
  }

  #write(question: WriteQuestion, request: GridRequest): WriteOutcome {
    const { maps, crdt } = this.#options;
    const image = this.#image;
    const stored = this.#storedStamp(question, request);
    if (!holds(question, stored)) return { outcome: 'condition', stamp: stored };
    if (question.value === undefined && stored === undefined) return { outcome: 'absent' };
    const map = maps.openByName(question.map);
    if (map === undefined) return refused('TOO_MANY_MAPS', 'the server has as many maps as LATTICE_MAX_MAPS allows');
    this.#fill(question, map, request.nowMs);
    this.#judge(map, question.scope, request);
    const problem = sizeProblem(question, image);
    if (problem !== undefined) return problem;
    if ((map.existing(KIND_LWW)?.alikeKeys(image) ?? 0) >= ALIKE_MAX)
      return refused('KEYS_ALIKE', 'the key is new, and too many others of its map have its hash');
    if (!crdt.applyImage(map, image, request.gateway, request.session, false, request.nowMs)) return this.#refusal(map, request);
    const stamp = stampText(image.millis, image.counter, image.source, image.nodeStart, image.nodeBytes);
    return { outcome: 'written', created: stored === undefined, stamp };
  }

  /** Stamp of the live record that the writer sees; undefined when there is none. */
  #storedStamp({ map, key, scope }: WriteQuestion, { gateway }: GridRequest): string | undefined {
    const store = this.#storeOf(map);
    const stored = this.#stored;
    pointAtKey(stored, key);
    if (store === undefined || !this.#options.reader.find(store, stored) || stored.tombstone) return undefined;
    const view = this.#view(gateway, scope, map);
    if (view !== ALL_ROWS && stored.evicted) throw new GridError('UNAVAILABLE', 'there is no room in memory to look at the row');
    if (view !== ALL_ROWS && seenRecord(stored, view, false) === undefined) return undefined;
    return stampText(stored.millis, stored.counter, stored.source, stored.nodeStart, stored.nodeBytes);
  }

  /** Points the image at the write, stamped by this server behind whatever is stored. */
  #fill({ key, value, ttlMs }: WriteQuestion, map: GridMap, nowMs: number): void {
    const { nodeId } = this.#options;
    const image = this.#image;
    const valueBytes = value?.length ?? 0;
    const source = new Uint8Array(key.length + nodeId.length + valueBytes);
    source.set(key, 0);
    source.set(nodeId, key.length);
    if (value !== undefined) source.set(value, key.length + nodeId.length);
    pointAtKey(image, key, source);
    image.nodeStart = key.length;
    image.nodeBytes = nodeId.length;
    image.valueStart = key.length + nodeId.length;
    image.valueBytes = valueBytes;
    image.tombstone = value === undefined;
    stampAfter(map.store(KIND_LWW), image, nowMs);
    // It lives from now on, though its clock may stand where that of the record before it stood, ahead of this server's.
    image.ttlMs = ttlMs === undefined ? Number.NaN : Math.floor(nowMs) + ttlMs - image.millis;
  }

  /** Lets the row rules of the writer have their say; hidden fields stay as they are stored. Throws GridError. */
  #judge(map: GridMap, scope: number, { gateway, nowMs }: GridRequest): void {
    if (scope === NO_SCOPE) return;
    const judged = this.#options.judge.judge(map, this.#image, gateway, scope, nowMs);
    if (judged !== JUDGED_ALLOWED) throw new GridError(ERROR_CODES[judged] ?? 'FORBIDDEN', 'the row may not be written so');
  }

  #refusal(map: GridMap, { gateway, session }: GridRequest): WriteOutcome {
    const refusal = map.guard?.refusal(KIND_LWW, this.#image, gateway, session);
    assert(refusal !== undefined, 'a write stamped behind the stored record is joined unless a guard refuses it');
    return refused(refusal.code, refusal.detail);
  }

  #storeOf(map: Uint8Array): RecordStore | undefined {
    return this.#options.maps.find(map)?.existing(KIND_LWW);
  }

  #view(gateway: number, scope: number, map: Uint8Array): RowView {
    return scope === NO_SCOPE ? ALL_ROWS : this.#options.scopes.rows(gateway, scope, decodeText(map, 0, map.length));
  }
}

function pointAtKey(image: RecordImage, key: Uint8Array, source: Uint8Array = key): void {
  image.source = source;
  image.keyStart = 0;
  image.keyBytes = key.length;
  image.keyHash = fnv1aUtf8(key, 0, key.length);
  image.tagStart = 0;
  image.tagBytes = 0;
  image.nodeStart = 0;
  image.nodeBytes = 0;
  image.valueStart = 0;
  image.valueBytes = 0;
  image.evicted = false;
  image.tombstone = false;
}

function parts(image: RecordImage, view: RowView): Uint8Array[] {
  const record = image.tombstone ? undefined : seenRecord(image, view, true);
  return record === undefined ? [] : [encodeRecord(record)];
}

/** `stored` is the stamp of the live record. */
function holds({ match, noneMatch }: WriteQuestion, stored: string | undefined): boolean {
  if (match !== undefined && !names(match, stored)) return false;
  return noneMatch === undefined || !names(noneMatch, stored);
}

function names(stamps: readonly string[], stored: string | undefined): boolean {
  return stored !== undefined && (stamps.includes('*') || stamps.includes(stored));
}

function sizeProblem(question: WriteQuestion, image: RecordImage): WriteOutcome | undefined {
  const identityBytes = question.map.length + question.key.length;
  if (identityBytes > IDENTITY_BYTES_MAX)
    return refused('KEY_TOO_LARGE', `map and key are ${identityBytes} bytes together, at most ${IDENTITY_BYTES_MAX} may be`);
  return fitsBlock(image) ? undefined : refused('FRAME_TOO_LARGE', `a value of ${image.valueBytes} bytes is too large`);
}

function refused(code: string, detail: string): WriteOutcome {
  return { outcome: 'refused', code, detail };
}
