/**
 * Questions about synchronisation: checks the map's name, notes who listens from now on, and asks the workers (scatter.ts).
 *
 * A client that was away for longer than tombstones are kept cannot be brought up to date by a walk: it is told to start
 * afresh (LWW: SYNC_RESET_REQUIRED, OR-Maps: `fullResync`), and answered as usual when it comes again from nothing.
 */
import type { CallStatus } from '../engine/operation/operation.ts';
import { encode } from '../engine/protocol/codec.ts';
import { GridError } from '../engine/protocol/errors.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import { encodeText } from '../engine/protocol/wire-text.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../engine/storage/record.ts';
import type { Desk, DeskContext } from './desk.ts';
import type { Scatter } from './scatter.ts';
import type { Session } from './session.ts';

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
    const mapId = this.#mapId(session, mapName);
    if (mapId <= 0) return 'RESPONSE';
    const { fanOut } = this.#context;
    const scatter = this.#scatter;
    switch (message.type) {
      case 'SYNC_INIT':
        fanOut.listen(session, mapId);
        return this.#begin(session, mapName, KIND_LWW, message.lastSyncTimestamp ?? 0);
      case 'ORMAP_SYNC_INIT':
        fanOut.listen(session, mapId);
        return this.#begin(session, mapName, KIND_OR, message.lastSyncTimestamp ?? 0);
      case 'MERKLE_REQ_BUCKET':
        return waits(scatter.bucket(session, mapName, KIND_LWW, message.path));
      case 'ORMAP_MERKLE_REQ_BUCKET':
        return waits(scatter.bucket(session, mapName, KIND_OR, message.path));
      case 'ORMAP_DIFF_REQUEST':
        return waits(scatter.diff(session, mapName, message.keys));
      case 'ORMAP_PUSH_DIFF':
        return waits(scatter.push(session, mapName, message.entries, fanOut.isBroadcast(session)));
      default:
        return 'VOID';
    }
  }

  #begin(session: Session, mapName: string, kind: RecordKind, lastSyncMs: number): CallStatus {
    const isStale = lastSyncMs > 0 && lastSyncMs < this.#context.pruneWatermarkMs();
    if (!isStale || kind === KIND_OR) return waits(this.#scatter.root(session, mapName, kind, isStale));
    const payload = { mapName, reason: 'the last sync is older than the tombstones that are kept' };
    this.#context.enqueue(session, encode({ type: 'SYNC_RESET_REQUIRED', payload }).slice());
    return 'RESPONSE';
  }

  /** The map's number, from 1; less after the client was told why it may not use the name. */
  #mapId(session: Session, mapName: string): number {
    const name = encodeText(mapName);
    const mapId = this.#context.maps.idOf(name, 0, name.length);
    const error = this.#context.maps.errorOf(mapId);
    if (error !== undefined) this.#context.sendError(session, new GridError(error, '').status, `${error}: map name refused`);
    return mapId;
  }
}

function waits(asked: boolean): CallStatus {
  return asked ? 'WAIT' : 'HELD';
}
