/**
 * A desk: where the messages of one domain go at a gateway, and where its workers' pushes arrive.
 *
 *   frame ─ dispatcher, interceptors ─ desk of its type ─ WorkerCalls ─▶ workers
 *   PUSH ─ outbox ─ desk of its kind ─▶ session
 *
 * A desk translates: bytes to requests, answers to frames. What is true about data is decided by the workers.
 */
import { assert } from '../engine/assert.ts';
import type { Definitions } from '../engine/operation/definitions.ts';
import type { CallStatus, OperationType } from '../engine/operation/operation.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import type { FanOut } from './fan-out.ts';
import type { MapNames } from './map-names.ts';
import type { NodeDesk } from './node-desk.ts';
import type { Session } from './session.ts';
import type { TurnClock } from './turn-clock.ts';
import type { WorkerCalls } from './worker-calls.ts';
import type { WorkerLinks } from './worker-links.ts';

/** What desks stand on. */
export interface DeskContext {
  /** Number of this gateway. */
  readonly gateway: number;
  readonly calls: WorkerCalls;
  readonly links: WorkerLinks;
  readonly maps: MapNames;
  readonly fanOut: FanOut;
  readonly clock: TurnClock;
  /** Node id of this server in clocks. */
  readonly nodeId: string;
  /** What people defined for the whole node; kept up to date. */
  readonly definitions: Definitions;
  /** Changes them. */
  readonly node: NodeDesk;
  /** Queues a frame for a session; it leaves with the next flush. The frame is the queue's then. */
  readonly enqueue: (session: Session, frame: Uint8Array) => void;
  /** Answers with ERROR. */
  readonly sendError: (session: Session, status: number, message: string) => void;
  /** The session of that number, if it is still there. */
  readonly sessionOf: (id: number) => Session | undefined;
  /** Clients whose last sync is older must start afresh. Wall-clock ms, 0 = none. */
  readonly pruneWatermarkMs: () => number;
  /** True when policies were changed since then, wall-clock ms, or may have been. */
  readonly policiesChangedSince: (sinceMs: number) => boolean;
}

export interface Desk {
  /** The message types that it takes. A type has one desk. */
  readonly types: readonly OperationType[];
  /** HELD: the same message again, in its order, when there is room; at the worker of `heldFor` of the session, where the desk knows it. */
  ask(session: Session, message: ClientMessage): CallStatus;
  /** The kinds of PUSH that it takes. */
  readonly pushKinds?: readonly number[];
  /** `session` is undefined for what the gateway itself is told, and for a session that is gone. `body` is the desk's. */
  pushed?(worker: number, session: Session | undefined, kind: number, body: Uint8Array): void;
  /** A session is gone. Workers are told by themselves when `session.leavesTraces`. */
  closed?(session: Session): void;
  /** Other rows of these maps, or none, are for the session to see now: its policies or its token changed. Ask its `access` about all else. */
  accessChanged?(session: Session, mapNames: readonly string[]): void;
  /** Every 100 ms; `nowMs` is the gateway's monotonic clock. */
  tick?(nowMs: number): void;
  /** A worker was replaced and knows nothing of what this desk told it. */
  workerReplaced?(worker: number): void;
}

/** The desks of a gateway. */
export class Desks {
  readonly #all: readonly Desk[];
  readonly #byType = new Map<OperationType, Desk>();
  readonly #byPushKind = new Map<number, Desk>();

  constructor(desks: readonly Desk[]) {
    this.#all = desks;
    for (const desk of desks) {
      for (const type of desk.types) {
        assert(!this.#byType.has(type), `two desks for ${type}`);
        this.#byType.set(type, desk);
      }
      for (const kind of desk.pushKinds ?? []) {
        assert(!this.#byPushKind.has(kind), `two desks for pushes of kind ${kind}`);
        this.#byPushKind.set(kind, desk);
      }
    }
  }

  of(type: OperationType): Desk | undefined {
    return this.#byType.get(type);
  }

  pushed(worker: number, session: Session | undefined, kind: number, body: Uint8Array): void {
    const desk = this.#byPushKind.get(kind);
    assert(desk?.pushed !== undefined, `push of kind ${kind}`);
    desk.pushed(worker, session, kind, body);
  }

  closed(session: Session): void {
    for (const desk of this.#all) desk.closed?.(session);
  }

  accessChanged(session: Session, mapNames: readonly string[]): void {
    for (const desk of this.#all) desk.accessChanged?.(session, mapNames);
  }

  tick(nowMs: number): void {
    for (const desk of this.#all) desk.tick?.(nowMs);
  }

  workerReplaced(worker: number): void {
    for (const desk of this.#all) desk.workerReplaced?.(worker);
  }
}
