/**
 * What sessions with policies get unasked: change events that a worker judged row by row, and word that what they hold of a
 * map is theirs no more.
 *
 *   PUSH_SCOPED_EVENT ─ scope ─▶ its sessions that listen to the map: SERVER_EVENT, or a reset of the map
 *   policies or token changed ─▶ maps that are others now for the session: a reset of each, and every desk looks anew
 *
 * Nobody is told a removal that was none: clients push removals. A map is taken back by SYNC_RESET_REQUIRED (LWW) or
 * `fullResync` (OR-Map), after which the client asks for what it may have now.
 */
import { SCOPED_RESET_LWW } from '../engine/domains/security/scoped-events.ts';
import type { CallStatus } from '../engine/operation/operation.ts';
import { encode } from '../engine/protocol/codec.ts';
import { PUSH_SCOPED_EVENT } from '../engine/protocol/envelope.ts';
import { MessageWriter } from '../engine/protocol/msgpack-writer.ts';
import { decodeText } from '../engine/protocol/wire-text.ts';
import { KIND_LWW, KIND_OR } from '../engine/storage/record.ts';
import type { AccessControl } from './access-control.ts';
import type { Desk, DeskContext } from './desk.ts';
import { BY_ROW, type GrantScope, READ } from './grant-scope.ts';
import { mapNameOf } from './event-map.ts';
import type { Timestamp } from './scatter.ts';
import type { Session } from './session.ts';

const HEADER_BYTES = 8;
const REASON = 'what you may read of the map has changed';

export class SecurityDesk implements Desk {
  readonly types = [] as const;
  readonly pushKinds: readonly number[] = [PUSH_SCOPED_EVENT];
  /** Events delivered, counted per session. */
  delivered = 0;
  readonly #context: DeskContext;
  readonly #control: AccessControl;
  readonly #now: () => Timestamp;

  constructor(context: DeskContext, control: AccessControl, now: () => Timestamp) {
    this.#context = context;
    this.#control = control;
    this.#now = now;
  }

  ask(): CallStatus {
    return 'VOID';
  }

  pushed(_worker: number, _session: Session | undefined, _kind: number, body: Uint8Array): void {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const scope = this.#control.byNumber(view.getUint32(0, true));
    if (scope === undefined) return; // its last session has gone
    if (view.getUint32(4, true) === SCOPED_RESET_LWW) {
      const name = decodeText(body, HEADER_BYTES, body.length);
      for (const session of this.#listeners(scope, name)) this.#reset(session, name);
      return;
    }
    this.#deliver(scope, body.subarray(HEADER_BYTES));
  }

  closed(session: Session): void {
    const { guard } = session.access;
    if (guard !== undefined) this.#control.unlisten(session, guard);
  }

  /** What the lost worker had not told yet nobody tells any more: its sessions fetch the maps anew. */
  workerReplaced(worker: number): void {
    this.#control.workerReplaced(worker);
    for (let mapId = 1; mapId <= this.#context.maps.count; mapId++) {
      for (const session of this.#rowSessions()) {
        if (session.access.guard?.decideMap(READ, mapId, this.#context.maps) === BY_ROW)
          this.accessChanged(session, [this.#context.maps.textOf(mapId)]);
      }
    }
  }

  /** The maps are others now for the session: what it has of them is to be fetched anew. */
  accessChanged(session: Session, mapNames: readonly string[]): void {
    for (const name of mapNames) this.#reset(session, name);
  }

  #deliver(scope: GrantScope, event: Uint8Array): void {
    const out = new MessageWriter();
    out.mapHeader(2);
    out.string('type');
    out.string('SERVER_EVENT');
    out.string('payload');
    out.raw(event, 0, event.length);
    const frame = out.bytes.slice(0, out.length);
    for (const session of this.#listeners(scope, mapNameOf(event))) {
      this.#context.enqueue(session, frame);
      this.delivered += 1;
    }
  }

  *#listeners(scope: GrantScope, mapName: string): Iterable<Session> {
    const { maps, fanOut } = this.#context;
    const mapId = maps.idOfText(mapName);
    for (const session of scope.sessions) if (fanOut.isBroadcast(session) || session.interests.has(mapId)) yield session;
  }

  *#rowSessions(): Iterable<Session> {
    for (const scope of this.#control.scopes()) if (scope.grants.dependOnRows) yield* scope.sessions;
  }

  /** Of a map that the session has not synced itself nobody here knows the kind: a reset of each does no harm. */
  #reset(session: Session, mapName: string): void {
    const { enqueue, maps } = this.#context;
    const kinds = session.synced.get(maps.idOfText(mapName)) ?? (session.byInterest ? 0 : (1 << KIND_LWW) | (1 << KIND_OR));
    if ((kinds & (1 << KIND_LWW)) !== 0)
      enqueue(session, encode({ type: 'SYNC_RESET_REQUIRED', payload: { mapName, reason: REASON } }).slice());
    if ((kinds & (1 << KIND_OR)) === 0) return;
    const payload = { mapName, rootHash: 0, timestamp: this.#now(), fullResync: true };
    enqueue(session, encode({ type: 'ORMAP_SYNC_RESP_ROOT', payload }).slice());
  }
}
