/**
 * A client's logical presence on this gateway: who it is, what it listens to, what it still waits for.
 *
 *   opened ──(authentication required)──▶ authenticating ──▶ ready ──▶ closed
 *      └──────────(not required)─────────────────────────────▲
 *
 * Frames for the client are queued here and leave together, in one cork, when the gateway flushes. Frames from the
 * client that found a full ring are held here (held-frames.ts) and go on in their order when there is room.
 */
import { grantedPriority, type Priority } from '../engine/operation/priority.ts';
import { CLOSE, type CloseCause, type Connection } from './connection.ts';
import { type SessionAccess, SubjectAccess } from './subject-access.ts';
import type { Principal } from './authentication.ts';

export type SessionState = 'unauthenticated' | 'verifying' | 'ready' | 'closed';

/** A frame for the client: bytes, or the last id of a plain OP_ACK, which is built when it leaves. */
export type Outgoing = Uint8Array | number;

/** A call of a door without sessions that waits for room (door-calls.ts). */
export interface HeldCall {
  readonly bytes: number;
  /** Where there is no room for it, it is offered again, and so is not refused. */
  readonly isOfferedAgain?: boolean;
  /** Asks the workers. Answers with the first of them that takes nothing now; -1 when all were asked, or the call has failed. */
  run(): number;
  /** It has waited for too long. */
  expired(): void;
}

/** A frame of the client that waits for room; or a call, then the frame is empty. */
export interface HeldFrame {
  readonly frame: Uint8Array;
  /** When it came, in ms of the gateway's clock. */
  sinceMs: number;
  readonly call?: HeldCall | undefined;
}

export class Session {
  /** Number in rings and call table; never 0. Slot and generation, so that a number is not used again soon. */
  readonly id: number;
  readonly connection: Connection;
  readonly openedMs: number;
  /** Gets events of maps that it synced or queried only (`events=interest`). */
  readonly byInterest: boolean;
  /** It is told of changes of every map: fan-out.ts says so. */
  hearsAll = false;
  /** Class of its requests while priorities are on: what it may have of what it asked for. A door may set it as it likes. */
  priority: Priority = 'normal';
  askedPriority: Priority = 'normal';
  state: SessionState = 'unauthenticated';
  principal: Principal | undefined;
  /** What it may do; of a session that is ready. */
  access: SessionAccess = SubjectAccess.FULL;
  /** The token that it proved itself with: the same one again proves nothing new. */
  token: string | undefined;
  /** Another token of it is being checked. */
  isRenewing = false;
  /** It was told that its token ends. */
  toldExpiry = false;
  deviceId: string | undefined;
  /** AUTH was answered: the client may send it twice. */
  acknowledged = false;
  lastSeenMs: number;
  /** Clock of the client minus the server's at its last PING, ms; NaN before one that says the time. */
  clockSkewMs = Number.NaN;
  /** Maps listened to, by the gateway's number; only for `byInterest`. */
  readonly interests = new Set<number>();
  /** Maps that it synced, by the gateway's number: a bit for each kind. */
  readonly synced = new Map<number, number>();

  /** Some service of a worker keeps something for this session, and must hear when it is gone. */
  leavesTraces = false;

  /** Highest op id seen: only ids above it cost anything. */
  highestId = 0;
  /** Highest op id of which all up to it are handled; what the last ack said. */
  ackedId = 0;
  /** Highest op id handled, gaps or not. */
  handledId = 0;
  /** Highest ids of batches that were handled while an older one was open. */
  readonly handledBeyond: number[] = [];
  /** Calls under way. */
  openCalls = 0;
  /** Oldest and newest open call (slots of the call table, -1 = none). */
  oldestCall = -1;
  newestCall = -1;
  /** Lowest id of the newest batch that has ids, and whether no open batch begins below an older one. */
  newestLowId = 0;
  lowIdsRise = true;

  /** Rate limit: ops that may be sent now, as of `tokensAtMs`. */
  tokens = 0;
  tokensAtMs = 0;

  /** Frames that wait for room in a ring, oldest first. */
  readonly held: HeldFrame[] = [];
  heldBytes = 0;
  /** The oldest held frame was admitted already: it costs nothing when it is tried again. */
  headAdmitted = false;
  /** The worker that the oldest held frame waits for, -1 when it waits for something else. */
  heldFor = -1;

  /** Why the session will be closed behind its next flush. */
  closing: CloseCause | undefined;
  /** True while the session stands in the gateway's list of sessions to flush. */
  queued = false;
  readonly #outgoing: Outgoing[] = [];
  outgoingFrames = 0;

  constructor(id: number, connection: Connection, byInterest: boolean, nowMs: number) {
    this.id = id;
    this.connection = connection;
    this.byInterest = byInterest;
    this.openedMs = nowMs;
    this.lastSeenMs = nowMs;
  }

  get isOpen(): boolean {
    return this.state !== 'closed';
  }

  /** Places of frames for the next flush, of which `outgoingFrames` are taken; outgoing.ts keeps both. */
  get outgoing(): Outgoing[] {
    return this.#outgoing;
  }

  /** Gives the session the class that it asked for, if whom it speaks for may have it. Call it when that is known. */
  grantPriority(): void {
    this.priority = grantedPriority(this.askedPriority, this.principal?.roles);
  }

  /** Closes with a cause; what was queued is dropped, the client repairs itself after it reconnects. */
  close(cause: CloseCause): void {
    if (!this.isOpen) return;
    const { code, reason } = CLOSE[cause];
    this.connection.end(code, reason);
  }
}

/** Taken for a session that does nothing: its object, its places in tables, its socket. */
const IDLE_BYTES = 4096;
/** Of an entry in a set or a map of small numbers. */
const ENTRY_BYTES = 32;

/** Memory that the session takes, in bytes: what it holds for its client and what the client has not read. */
export function sessionBytes({ heldBytes, interests, synced, handledBeyond, outgoingFrames, connection }: Session): number {
  const entries = interests.size + synced.size + handledBeyond.length + outgoingFrames;
  return IDLE_BYTES + heldBytes + connection.bufferedBytes() + entries * ENTRY_BYTES;
}

const SLOT_BITS = 20;
const SLOT_MASK = (1 << SLOT_BITS) - 1;
const GENERATIONS = 1 << 11;

/** All sessions of a gateway thread. A number found in a late answer finds its session, or nothing. */
export class SessionTable {
  readonly #slots: (Session | undefined)[] = [undefined];
  readonly #generations: number[] = [0];
  readonly #free: number[] = [];
  readonly #sessionsMax: number;
  #count = 0;

  constructor(sessionsMax: number) {
    this.#sessionsMax = Math.min(sessionsMax, SLOT_MASK);
  }

  get count(): number {
    return this.#count;
  }

  /** A new session, or undefined when there are as many as allowed. */
  open(connection: Connection, byInterest: boolean, nowMs: number): Session | undefined {
    if (this.#count >= this.#sessionsMax) return undefined;
    const slot = this.#free.pop() ?? this.#slots.length;
    const generation = ((this.#generations[slot] ?? 0) + 1) % GENERATIONS;
    this.#generations[slot] = generation;
    const session = new Session((generation << SLOT_BITS) | slot, connection, byInterest, nowMs);
    this.#slots[slot] = session;
    this.#count += 1;
    return session;
  }

  /** The session of that number if it is still there. */
  find(id: number): Session | undefined {
    const session = this.#slots[id & SLOT_MASK];
    return session !== undefined && session.id === id ? session : undefined;
  }

  close(session: Session): void {
    if (session.state === 'closed') return;
    session.state = 'closed';
    const slot = session.id & SLOT_MASK;
    this.#slots[slot] = undefined;
    this.#free.push(slot);
    this.#count -= 1;
  }

  *sessions(): Generator<Session> {
    for (const session of this.#slots) if (session !== undefined) yield session;
  }
}
