/**
 * Questions about synchronisation: checks the map's name, notes who listens from now on, and asks the workers (scatter.ts).
 *
 * A client that was away for longer than tombstones are kept cannot be brought up to date by a walk: it is told to start
 * afresh (LWW: SYNC_RESET_REQUIRED, OR-Maps: `fullResync`), and answered as usual when it comes again from nothing.
 */
import { type Action, NO_SCOPE } from '../engine/domains/security/access.ts';
import type { Decision } from '../engine/domains/security/grants.ts';
import type { CallStatus } from '../engine/operation/operation.ts';
import { encode } from '../engine/protocol/codec.ts';
import { GridError } from '../engine/protocol/errors.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import { encodeText } from '../engine/protocol/wire-text.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../engine/storage/record.ts';
import type { Desk, DeskContext } from './desk.ts';
import type { PushEntry, Scatter } from './scatter.ts';
import type { Session } from './session.ts';
import { decisionOf } from './subject-access.ts';

const TOO_OLD = 'the last sync is older than the tombstones that are kept';
const CHANGED = 'what you may read of the map may have changed since the last sync';

const READING: readonly Action[] = ['read'];
const PUSHING: readonly Action[] = ['write', 'remove'];

type OrInit = Extract<ClientMessage, { type: 'ORMAP_SYNC_INIT' }>;

export class SyncDesk implements Desk {
  readonly types = [
    'SYNC_INIT',
    'ORMAP_SYNC_INIT',
    'MERKLE_REQ_BUCKET',
    'ORMAP_MERKLE_REQ_BUCKET',
    'ORMAP_DIFF_REQUEST',
    'ORMAP_PUSH_DIFF',
  ] as const;
  readonly #context: DeskContext;
  readonly #scatter: Scatter;

  constructor(context: DeskContext, scatter: Scatter) {
    this.#context = context;
    this.#scatter = scatter;
  }

  /** HELD when no call is free now: the same question again later. */
  ask(session: Session, message: ClientMessage): CallStatus {
    if (!('mapName' in message)) return 'VOID';
    const { mapName } = message;
    if (typeof mapName !== 'string') return 'VOID';
    const read = decisionOf(session.access, 'read', mapName);
    const mapId = this.#mapId(session, mapName, message.type === 'ORMAP_PUSH_DIFF' ? PUSHING : READING);
    if (mapId !== undefined && mapId <= 0) return 'RESPONSE';
    if (message.type === 'ORMAP_PUSH_DIFF') return this.#push(session, mapName, message.entries, read);
    if (read === 'deny' || mapId === undefined) return this.#refuse(session, mapName, message);
    const scope = read === 'rows' ? session.access.scope : NO_SCOPE;
    const scatter = this.#scatter;
    switch (message.type) {
      case 'SYNC_INIT':
        this.#note(session, mapId, KIND_LWW);
        return this.#begin(session, mapName, message.lastSyncTimestamp ?? 0, scope);
      case 'ORMAP_SYNC_INIT':
        this.#note(session, mapId, KIND_OR);
        return this.#beginOr(session, mapName, message, scope);
      case 'MERKLE_REQ_BUCKET':
        return waits(scatter.bucket(session, mapName, KIND_LWW, message.path, scope));
      case 'ORMAP_MERKLE_REQ_BUCKET':
        return waits(scatter.bucket(session, mapName, KIND_OR, message.path, scope));
      case 'ORMAP_DIFF_REQUEST':
        return waits(scatter.diff(session, mapName, message.keys, scope));
      default:
        return 'VOID';
    }
  }

  #note(session: Session, mapId: number, kind: RecordKind): void {
    this.#context.fanOut.listen(session, mapId);
    session.synced.set(mapId, (session.synced.get(mapId) ?? 0) | (1 << kind));
  }

  /** Whoever sees rows by rules holds rows of which nobody can say whether they went or were hidden: it starts from nothing each time. */
  #begin(session: Session, mapName: string, lastSyncMs: number, scope: number): CallStatus {
    const isStale = lastSyncMs > 0 && lastSyncMs < this.#context.pruneWatermarkMs();
    if (!isStale && (scope === NO_SCOPE || lastSyncMs === 0) && !this.#hasChanged(session, lastSyncMs))
      return waits(this.#scatter.root(session, mapName, KIND_LWW, scope, () => false));
    return this.#reset(session, mapName, isStale ? TOO_OLD : CHANGED);
  }

  #beginOr(session: Session, mapName: string, message: OrInit, scope: number): CallStatus {
    const lastSyncMs = message.lastSyncTimestamp ?? 0;
    const isStale = lastSyncMs > 0 && (lastSyncMs < this.#context.pruneWatermarkMs() || this.#hasChanged(session, lastSyncMs));
    const startsAfresh = (rootHash: number): boolean =>
      isStale || (scope !== NO_SCOPE && lastSyncMs > 0 && rootHash !== message.rootHash);
    return waits(this.#scatter.root(session, mapName, KIND_OR, scope, startsAfresh));
  }

  /** True when policies were changed since then: what the client holds may be another's, or lack fields that it may see now. */
  #hasChanged(session: Session, lastSyncMs: number): boolean {
    return lastSyncMs > 0 && session.access.guard !== undefined && this.#context.policiesChangedSince(lastSyncMs);
  }

  #push(session: Session, mapName: string, entries: readonly PushEntry[], read: Decision): CallStatus {
    const [write, remove] = [decisionOf(session.access, 'write', mapName), decisionOf(session.access, 'remove', mapName)];
    const rights = {
      scope: [read, write, remove].includes('rows') ? session.access.scope : NO_SCOPE,
      mayWrite: write !== 'deny',
      mayRemove: remove !== 'deny',
      mayRead: read !== 'deny',
    };
    if (!rights.mayWrite && !rights.mayRemove) return 'VOID'; // clients push what they hold after every leaf
    return waits(this.#scatter.push(session, mapName, entries, this.#context.fanOut.isBroadcast(session), rights));
  }

  /** What a client holds of a map that it may read no more is to go; the rest is refused. */
  #refuse(session: Session, mapName: string, message: ClientMessage): CallStatus {
    if (message.type === 'SYNC_INIT' && (message.lastSyncTimestamp ?? 0) > 0) return this.#reset(session, mapName, CHANGED);
    this.#context.sendError(session, 403, `FORBIDDEN: map ${mapName} may not be read`);
    return 'RESPONSE';
  }

  #reset(session: Session, mapName: string, reason: string): CallStatus {
    this.#context.enqueue(session, encode({ type: 'SYNC_RESET_REQUIRED', payload: { mapName, reason } }).slice());
    return 'RESPONSE';
  }

  /** The map's number, from 1; less after the client was told why not. Undefined for a map without one that may be used for none of this. */
  #mapId(session: Session, mapName: string, actions: readonly Action[]): number | undefined {
    const { maps, sendError } = this.#context;
    const name = encodeText(mapName);
    const mapId = maps.idOf(name, 0, name.length, () => actions.some((action) => session.access.may(action, mapName)));
    const error = maps.errorOf(mapId);
    if (error === 'FORBIDDEN') return undefined;
    if (error !== undefined) sendError(session, new GridError(error, '').status, `${error}: map name refused`);
    return mapId;
  }
}

function waits(asked: boolean): CallStatus {
  return asked ? 'WAIT' : 'HELD';
}
