/**
 * What routes know of the grid behind them: an interface, so that HTTP needs no gateway to be tested, and answers before
 * there is one.
 */
import type { Access } from '../../engine/domains/security/access.ts';
import type { Definitions } from '../../engine/operation/definitions.ts';
import type { AckLevels } from '../../engine/protocol/ack-level.ts';
import type { Authenticator, Principal } from '../authentication.ts';
import type { Connection } from '../connection.ts';
import type { NodeDesk } from '../node-desk.ts';
import type { Timestamp } from '../scatter.ts';
import type { Session } from '../session.ts';
import type { WholeReads } from '../whole-reads.ts';
import type { WorkerCalls } from '../worker-calls.ts';
import type { WorkerLinks } from '../worker-links.ts';

export interface HttpDoor {
  readonly authenticator: Authenticator;
  readonly calls: WorkerCalls;
  readonly links: WorkerLinks;
  /** Reads of several workers that see what is one over them whole. */
  readonly wholeReads: WholeReads;
  /** The durability levels of this node. */
  readonly levels: AckLevels;
  /** Node id of this server in clocks. */
  readonly nodeId: string;
  /** What people defined for the whole node; kept up to date. */
  readonly definitions: Definitions;
  /** The main thread: changes definitions, keeps the audit. */
  readonly node: NodeDesk;
  accessOf(principal: Principal | undefined): Access;
  /** A session for whom has proved who he is; undefined when there are as many as may be. */
  open(connection: Connection, principal: Principal | undefined): Session | undefined;
  /** Takes a frame of it. `frame` is valid during the call only. */
  say(session: Session, frame: Uint8Array): void;
  /** It is gone. */
  close(session: Session): void;
  /** The server's clock. */
  now(): Timestamp;
  /** Since when every worker remembers when each record came to it: they forget that when they are replaced. Wall-clock ms. */
  remembersSinceMs(): number;
  /** Tombstones with an older clock are forgotten. Wall-clock ms, 0 = none. */
  pruneWatermarkMs(): number;
  /** True when policies were changed since then, wall-clock ms, or may have been. */
  policiesChangedSince(sinceMs: number): boolean;
  /** A token was refused. */
  onRefused(reason: string): void;
}
