/**
 * Answers to batches of ops: one OP_ACK a batch, by the rule of call-table.ts, and OP_REJECTED for refused ops.
 *
 * The client marks an op as synced when it is named in `results` or is not above `lastId`, whatever `success` says, and
 * never sends it again. So an op that must come again is not acknowledged at all: its connection is closed.
 */
import { type AckLevels, hasReached, levelName, levelShortage } from '../engine/protocol/ack-level.ts';
import { encode } from '../engine/protocol/codec.ts';
import { ERROR_CODES, GridError, type ErrorCode } from '../engine/protocol/errors.ts';
import type { AskedLevels } from './asked-levels.ts';
import { EvenAck } from './even-ack.ts';
import type { BatchDetails, CallTable } from './call-table.ts';
import type { Session } from './session.ts';

interface OpResult {
  readonly opId: string;
  readonly success: boolean;
  readonly achievedLevel: string;
  readonly error?: string;
}

export class BatchAnswers {
  readonly #calls: CallTable;
  readonly #levels: AckLevels;
  readonly #enqueue: (session: Session, frame: Uint8Array | number) => void;
  readonly #evenAck = new EvenAck();

  /** @param enqueue queues a frame, or the number of a plain ack, for the session's next flush. */
  constructor(calls: CallTable, levels: AckLevels, enqueue: (session: Session, frame: Uint8Array | number) => void) {
    this.#calls = calls;
    this.#levels = levels;
    this.#enqueue = enqueue;
  }

  /** Answers the batch in `slot`, all of whose ops are handled, and ends the call. */
  settle(slot: number): void {
    const session = this.#calls.sessions[slot];
    const details = this.#calls.details[slot];
    const highId = this.#calls.highId[slot] as number;
    const lowId = this.#calls.lowId[slot] as number;
    const ops = this.#calls.ops[slot] as number;
    const lastId = this.#calls.settle(slot);
    // A session that is being closed may have a batch that was refused below this one: nothing more is acknowledged.
    if (session === undefined || !session.isOpen || session.closing !== undefined) return;
    if (details === undefined && (lastId >= highId || ops === 0)) {
      this.#enqueue(session, lastId);
      return;
    }
    const known = details ?? denseDetails();
    const { levels } = known;
    if (levels !== undefined && hasEvenAnswer(known, levels)) {
      const proof = levels.forgets ? undefined : levels.proof;
      this.#enqueue(session, this.#evenAck.frame({ lastId, lowId, ops, level: levels.reachedName, proof }));
      return;
    }
    const ids = idsOf(known, lowId, ops);
    for (const [ordinal, error] of known.rejected) {
      this.#reject(session, ids[ordinal] ?? '', error, known.refusals.get(ordinal));
    }
    const achievedLevel = levels?.reachedName ?? levelName(this.#levels.plain);
    this.#acknowledge(session, lastId, achievedLevel, resultsOf(known, ids, lastId, this.#levels), levels);
  }

  /** Names some ops of a batch that is applied and not answered yet, with what they have reached. */
  tell(levels: AskedLevels, ordinals: readonly number[]): void {
    const session = this.#calls.sessions[levels.slot];
    const details = this.#calls.details[levels.slot];
    if (session === undefined || details === undefined || !session.isOpen || session.closing !== undefined) return;
    const ids = idsOf(details, this.#calls.lowId[levels.slot] as number, this.#calls.ops[levels.slot] as number);
    const results = ordinals.flatMap((ordinal) => {
      const opId = ids[ordinal] ?? '';
      return opId === '' || details.rejected.has(ordinal) ? [] : [resultOf(opId, ordinal, details, this.#levels)];
    });
    this.#acknowledge(session, session.ackedId, levels.reachedName, results, levels);
  }

  #acknowledge(
    session: Session,
    lastId: number,
    achievedLevel: string,
    results: readonly OpResult[],
    levels: AskedLevels | undefined,
  ): void {
    const named = results.length > 0 ? { results } : {};
    const payload = { lastId: String(lastId), achievedLevel, ...named, ...proofOf(levels) };
    this.#enqueue(session, encode({ type: 'OP_ACK', payload }).slice());
  }

  #reject(session: Session, opId: string, error: number, refusal: string | undefined): void {
    if (opId === '') return;
    const code = ERROR_CODES[error] ?? 'INTERNAL';
    this.#enqueue(
      session,
      encode({
        type: 'OP_REJECTED',
        payload: { opId, reason: reasonOf(code, refusal), code: new GridError(code, '').status },
      }).slice(),
    );
  }
}

/** The details of a batch that had nothing unusual when it came: its ids rise by one. */
export function denseDetails(): BatchDetails {
  return { ids: undefined, rejected: new Map(), refusals: new Map(), levels: undefined };
}

function idsOf({ ids }: BatchDetails, lowId: number, ops: number): readonly string[] {
  return ids ?? Array.from({ length: ops }, (_, ordinal) => (lowId > 0 ? String(lowId + ordinal) : ''));
}

/** True when all ops got the one level that they ask for, and none was told before. */
function hasEvenAnswer({ ids, rejected }: BatchDetails, levels: AskedLevels): boolean {
  const { asked, missing, told } = levels;
  if (asked === undefined || ids !== undefined || rejected.size > 0 || missing !== 0 || told.size > 0) return false;
  return hasReached(asked, levels.reachedBy(0));
}

/** Evidence for who names a level; who forgets has none. */
function proofOf(levels: AskedLevels | undefined): object {
  return levels === undefined || levels.forgets ? {} : { proof: levels.proof };
}

/** Results for every op that `lastId` does not cover or that names a level, and was not told before. */
function resultsOf(details: BatchDetails, ids: readonly string[], lastId: number, nodeLevels: AckLevels): OpResult[] {
  const { rejected, levels } = details;
  const results: OpResult[] = [];
  const named = new Set<string>();
  ids.forEach((opId, ordinal) => {
    if (opId === '' || named.has(opId)) return;
    const isPlain = isCovered(opId, lastId) && !rejected.has(ordinal) && (levels?.askedBy(ordinal) ?? 0) === 0;
    if (isPlain || (levels?.told.has(ordinal) === true && !rejected.has(ordinal))) return;
    named.add(opId);
    results.push(resultOf(opId, ordinal, details, nodeLevels));
  });
  return results;
}

function resultOf(opId: string, ordinal: number, { rejected, refusals, levels }: BatchDetails, nodeLevels: AckLevels): OpResult {
  const rejection = rejected.get(ordinal);
  if (rejection !== undefined) {
    const error = reasonOf(ERROR_CODES[rejection] ?? 'INTERNAL', refusals.get(ordinal));
    return { opId, success: false, achievedLevel: 'FIRE_AND_FORGET', error };
  }
  if (levels === undefined) return { opId, success: true, achievedLevel: levelName(nodeLevels.plain) };
  const asked = levels.askedBy(ordinal);
  const reached = levels.reachedBy(ordinal);
  const achievedLevel = levelName(reached);
  if (hasReached(asked, reached)) return { opId, success: true, achievedLevel };
  const error = `${shortfall(asked, levels, nodeLevels)}; reached ${achievedLevel}, and the write stays`;
  return { opId, success: false, achievedLevel, error };
}

/** Why an op did not get the level that it asked for. */
function shortfall(asked: number, levels: AskedLevels, nodeLevels: AckLevels): string {
  const askedFor = `asked for ${levelName(asked)}`;
  const shortage = levelShortage(asked, nodeLevels);
  if (shortage !== '') return `LEVEL_UNAVAILABLE: ${askedFor}, but ${shortage}`;
  const { failure = 'LEVEL_TIMEOUT' } = levels;
  if (failure === 'LEVEL_TIMEOUT') return `LEVEL_TIMEOUT: ${askedFor}, which took longer than its timeout`;
  return `${failure}: ${askedFor}, which what is not persisted yet can no longer reach here`;
}

function isCovered(opId: string, lastId: number): boolean {
  return /^[1-9][0-9]{0,14}$/.test(opId) && Number(opId) <= lastId;
}

const REASONS: Partial<Record<ErrorCode, string>> = {
  INVALID_MAP_NAME: 'the map name is empty, too long, or contains ":"',
  RESERVED_MAP_NAME: 'the map name is reserved',
  TOO_MANY_MAPS: 'the server has as many maps as LATTICE_MAX_MAPS allows',
  KEY_TOO_LARGE: 'map, key and tag together are larger than 2048 bytes, or the node id than 256',
  INVALID_OPERATION: 'a field of the operation is missing or wrong, or its clock is too far ahead to be corrected',
  SCHEMA_VIOLATION: 'the value does not have the form that the schema of its map asks for',
  STALE_OPERATION: 'the write is older than the tombstone horizon and its key is not there',
  KEYS_ALIKE: 'the key is new, and too many others of its map have its hash',
  FORBIDDEN: 'the policies do not allow this write',
  FENCED: 'a newer token of the lock was granted: the write comes from a former holder',
  FENCED_LATE: 'the fenced write lost to one with a later clock: it is not what is stored',
};

function reasonOf(code: ErrorCode, refusal: string | undefined): string {
  return `${code}: ${refusal ?? REASONS[code] ?? code}`;
}
