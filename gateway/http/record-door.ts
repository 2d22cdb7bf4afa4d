/**
 * Records by HTTP: asks the worker that owns a key, or all of them for a page, and puts their answers together.
 */
import { compareBytes } from '../../engine/crdt/hlc.ts';
import { fnv1aUtf8, partitionOf } from '../../engine/partition/hash.ts';
import {
  encodeBody,
  type PagePosition,
  type PageQuestion,
  parseOutcome,
  parsePart,
  parseRecord,
  type SeenRecord,
  type WriteOutcome,
  type WriteQuestion,
} from '../../engine/domains/records/record-requests.ts';
import { hasReached, levelName, levelShortage } from '../../engine/protocol/ack-level.ts';
import {
  REQUEST_PERSISTED,
  REQUEST_RECORD_PAGE,
  REQUEST_RECORD_READ,
  REQUEST_RECORD_WRITE,
} from '../../engine/protocol/envelope.ts';
import { ERROR_CODES, GridError } from '../../engine/protocol/errors.ts';
import { CONCERN_NAMES, CONCERN_PERSISTED } from '../../engine/protocol/op-index.ts';
import { encodeText } from '../../engine/protocol/wire-text.ts';
import type { HttpDoor } from './http-door.ts';

const LEAF_SHIFT = 20;
/** People with curl need not know that a worker is being replaced. */
const WAITS = { waits: true } as const;

export interface Page {
  readonly records: readonly SeenRecord[];
  /** Where the next one begins; undefined after the last. */
  readonly next: PagePosition | undefined;
}

export type PageWish = Omit<PageQuestion, 'map'>;

export class RecordDoor {
  readonly #door: HttpDoor;

  constructor(door: HttpDoor) {
    this.#door = door;
  }

  /** The live record of the key, or undefined. Rejects with GridError. */
  async read(mapName: string, keyText: string, scope: number): Promise<SeenRecord | undefined> {
    const key = encodeText(keyText);
    const body = encodeBody({ map: encodeText(mapName), key, scope });
    const [[record] = []] = await this.#door.calls.request(REQUEST_RECORD_READ, [this.#ownerOf(key)], () => body, WAITS);
    return record === undefined || record.length === 0 ? undefined : parseRecord(record);
  }

  /**
   * Writes, and resolves when it has reached the level. Rejects with GridError: LEVEL_UNAVAILABLE before anything is
   * written, LEVEL_TIMEOUT when it is written and not yet that safe, or what the guards and bounds refuse.
   *
   * @param level name of a durability level; '' for what the node gives anyway
   * @returns what became of it, and the name of the level that was reached
   */
  async write(wish: Omit<WriteQuestion, 'map' | 'key'>, mapName: string, keyText: string, level: string): Promise<Written> {
    const asked = this.#levelOf(level);
    const key = encodeText(keyText);
    const owner = this.#ownerOf(key);
    const body = encodeBody({ ...wish, map: encodeText(mapName), key });
    const [[answer] = []] = await this.#door.calls.request(REQUEST_RECORD_WRITE, [owner], () => body, WAITS);
    if (answer === undefined) throw new GridError('INTERNAL', 'a write without an answer');
    const outcome = parseOutcome(answer);
    if (outcome.outcome === 'refused') throw new GridError(codeOf(outcome.code), outcome.detail);
    const { plain } = this.#door.levels;
    if (outcome.outcome !== 'written' || hasReached(asked, plain)) return { outcome, level: levelName(plain) };
    await this.#untilPersisted(owner);
    return { outcome, level: levelName(CONCERN_PERSISTED) };
  }

  /** A page of the map, over all workers. */
  async page(mapName: string, wish: PageWish): Promise<Page> {
    const body = encodeBody({ ...wish, map: encodeText(mapName) });
    const { calls } = this.#door;
    const answers = await calls.request(REQUEST_RECORD_PAGE, calls.everyone, () => body, WAITS);
    return mergePages(
      answers.flatMap(([part]) => (part === undefined ? [] : [parsePart(part)])),
      wish.limit,
    );
  }

  #levelOf(name: string): number {
    if (name === '') return 0;
    const names: readonly string[] = CONCERN_NAMES;
    const asked = names.indexOf(name);
    if (asked < 0)
      throw new GridError('BAD_REQUEST', `no durability level is named ${name}: ${CONCERN_NAMES.slice(1).join(', ')}`);
    const { levels } = this.#door;
    const shortage = levelShortage(asked, levels);
    if (shortage !== '') throw new GridError('LEVEL_UNAVAILABLE', `asked for ${name}, but ${shortage}; nothing was written`);
    return asked;
  }

  async #untilPersisted(worker: number): Promise<void> {
    try {
      await this.#door.calls.request(REQUEST_PERSISTED, [worker], () => new Uint8Array(0));
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      throw new GridError('LEVEL_TIMEOUT', `written, but not persisted yet (${error.code}): the write stays`, { cause: error });
    }
  }

  #ownerOf(key: Uint8Array): number {
    return this.#door.links.table.ownerOf(partitionOf(fnv1aUtf8(key, 0, key.length)));
  }
}

export interface Written {
  readonly outcome: Exclude<WriteOutcome, { outcome: 'refused' }>;
  /** Name of the durability level that was reached. */
  readonly level: string;
}

/** One page of those of all workers: in their order, up to where a worker may have more. */
export function mergePages(parts: readonly Page[], limit: number): Page {
  const ends = parts.flatMap(({ next }) => (next === undefined ? [] : [next])).sort(comparePositions);
  const [end] = ends;
  const records = parts
    .flatMap((part) => part.records)
    .sort((a, b) => comparePositions(positionOf(a), positionOf(b)))
    .filter((record) => end === undefined || comparePositions(positionOf(record), end) <= 0);
  if (records.length <= limit) return { records, next: end };
  const page = records.slice(0, limit);
  const last = page.at(-1);
  return { records: page, next: last && positionOf(last) };
}

function positionOf({ key }: SeenRecord): PagePosition {
  return { leaf: fnv1aUtf8(key, 0, key.length) >>> LEAF_SHIFT, key };
}

function comparePositions(a: PagePosition, b: PagePosition): number {
  return a.leaf - b.leaf || compareBytes(a.key, 0, a.key.length, b.key, 0, b.key.length);
}

function codeOf(text: string): (typeof ERROR_CODES)[number] {
  return ERROR_CODES.find((code) => code === text) ?? 'INTERNAL';
}
