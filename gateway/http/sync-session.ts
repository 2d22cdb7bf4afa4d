/**
 * The ops and queries of one POST /sync, as a session says them and hears the answers.
 */
import { type Data, encode, isData } from '../../engine/protocol/codec.ts';
import { ERROR_CODES, type ErrorCode, GridError } from '../../engine/protocol/errors.ts';
import { checkBounds } from '../../engine/protocol/msgpack-bounds.ts';
import type { Principal } from '../authentication.ts';
import { DoorSession } from './door-session.ts';
import type { HttpDoor } from './http-door.ts';
import { opsFrame, type SyncError, type SyncRequest, type SyncResponse } from './sync-messages.ts';

export type Query = NonNullable<SyncRequest['queries']>[number];
export type QueryResult = NonNullable<SyncResponse['queryResults']>[number];

export interface Acknowledged {
  readonly ack: SyncResponse['ack'];
  readonly errors: readonly SyncError[];
}

/** As many as a query may answer with. */
const RESULTS_MAX = 10_000;

export class SyncSession {
  readonly #session: DoorSession;
  /** Takes the next message; true when it was the one that was waited for. */
  #hears: (message: Data) => boolean = () => false;
  #ends: (error: GridError) => void = () => {};
  /** What the gateway said went wrong, since the last question. */
  #error: SyncError | undefined;

  constructor(door: HttpDoor, principal: Principal | undefined) {
    this.#session = new DoorSession(door, principal, {
      message: (message) => this.#heard(message),
      ended: (_code, reason) => this.#ends(new GridError('UNAVAILABLE', this.#error?.message ?? reason)),
      bufferedBytes: () => 0,
    });
  }

  /** Resolves when the ops are handled, or refused as a whole. */
  async write(operations: Uint8Array, ids: readonly string[]): Promise<Acknowledged> {
    const errors: SyncError[] = [];
    let ack: Data | undefined;
    const isAnswer = (message: Data): boolean => {
      const payload = isData(message.payload) ? message.payload : {};
      if (message.type === 'OP_REJECTED') errors.push(errorOf(payload, payload.reason, String(payload.opId)));
      if (message.type === 'ERROR') errors.push(errorOf(payload, payload.message));
      if (message.type === 'OP_ACK') ack = payload;
      return message.type === 'OP_ACK' || message.type === 'ERROR';
    };
    await this.#say(() => this.#session.sayFrame(opsFrame(operations)), isAnswer);
    return { ack: ack && acknowledgement(ack, ids), errors };
  }

  /** Rejects with GridError when the query is refused. */
  async query({ queryId, mapName, filter, limit, offset, cursor }: Query): Promise<QueryResult> {
    const skipped = cursor == null ? Math.max(0, Math.floor(offset ?? 0)) : 0;
    const window = limit == null ? undefined : Math.min(RESULTS_MAX, skipped + Math.max(0, Math.floor(limit)));
    const query = {
      ...(isData(filter) ? { where: filter } : {}),
      ...(window === undefined ? {} : { limit: window }),
      ...(cursor == null ? {} : { cursor }),
    };
    const answer = await this.ask(queryId, mapName, query);
    return resultOf(queryId, answer, skipped, limit != null);
  }

  /** The result of a query as it is now. Rejects with GridError when it is refused. */
  async ask(queryId: string, mapName: string, query: object): Promise<Data> {
    let answer: Data = {};
    const frame = encode({ type: 'QUERY_SUB', payload: { queryId, mapName, query } }).slice();
    if (checkBounds(frame, 0, frame.length) !== 0) throw new GridError('BAD_REQUEST', 'the query is nested too deep');
    await this.#say(
      () => this.#session.sayFrame(frame),
      (message) => {
        if (message.type === 'ERROR') throw errorFrom(message.payload);
        if (message.type !== 'QUERY_RESP' || !isData(message.payload)) return false;
        answer = message.payload;
        return true;
      },
    );
    this.#session.say({ type: 'QUERY_UNSUB', payload: { queryId } });
    if (typeof answer.error === 'string' && answer.error !== '') throw new GridError('BAD_REQUEST', answer.error);
    if (answer.cursorStatus === 'expired' || answer.cursorStatus === 'invalid')
      throw new GridError('BAD_REQUEST', `the cursor is ${answer.cursorStatus}`);
    return answer;
  }

  close(): void {
    this.#session.close();
  }

  #say(say: () => void, isAnswer: (message: Data) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#ends = reject;
      this.#hears = (message) => {
        try {
          if (!isAnswer(message)) return false;
          resolve();
        } catch (error) {
          reject(error);
        }
        return true;
      };
      say();
    });
  }

  #heard(message: Data): void {
    const payload = isData(message.payload) ? message.payload : {};
    if (message.type === 'ERROR') this.#error = errorOf(payload, payload.message);
    if (this.#hears(message)) this.#hears = () => false;
  }
}

/** What the answer says of the ops; results only where there is more to say than that all are done. */
function acknowledgement(ack: Data, ids: readonly string[]): SyncResponse['ack'] {
  const results: unknown[] = Array.isArray(ack.results) ? ack.results : [];
  const isPlain = results.every((result) => isData(result) && result.success === true);
  const last = ids.at(-1) ?? '';
  const lastId = /^\d+$/.test(last) || last === '' ? String(ack.lastId) : last; // ids that are no numbers are the client's own matter
  const level = typeof ack.achievedLevel === 'string' ? { achievedLevel: ack.achievedLevel } : {};
  return { lastId, ...level, ...(isPlain ? {} : { results }) };
}

function resultOf(queryId: string, answer: Data, skipped: number, hasLimit: boolean): QueryResult {
  const rows = (Array.isArray(answer.results) ? answer.results : []).filter(isData).slice(skipped);
  return {
    queryId,
    results: rows.map(({ value }) => value),
    ...(hasLimit ? { hasMore: answer.hasMore === true } : {}),
    ...(typeof answer.nextCursor === 'string' ? { nextCursor: answer.nextCursor } : {}),
  };
}

function errorOf(payload: Data, message: unknown, context?: string): SyncError {
  const code = typeof payload.code === 'number' ? payload.code : 500;
  return { code, message: String(message), ...(context === undefined ? {} : { context }) };
}

/** The error that an ERROR tells of a query: by its code, where it has one. */
function errorFrom(payload: unknown): GridError {
  const { code: status, message, details } = isData(payload) ? payload : {};
  const code = ERROR_CODES.find((one) => isData(details) && details.code === one) ?? codeOfStatus(status);
  return new GridError(code, String(message).replace(`${code}: `, ''));
}

function codeOfStatus(status: unknown): ErrorCode {
  if (status === 403) return 'FORBIDDEN';
  if (status === 501) return 'FEATURE_DISABLED';
  return status === 429 ? 'RATE_LIMITED' : 'BAD_REQUEST';
}
