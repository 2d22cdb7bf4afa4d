/**
 * What routes know of the grid behind them: an interface, so that HTTP needs no gateway to be tested, and answers before
 * there is one.
 */
import type { Access } from '../../engine/domains/security/access.ts';
import type { Definitions } from '../../engine/operation/definitions.ts';
import type { AckLevels } from '../../engine/protocol/ack-level.ts';
import type { Authenticator, Principal } from '../authentication.ts';
import type { NodeDesk } from '../node-desk.ts';
import type { WorkerCalls } from '../worker-calls.ts';
import type { WorkerLinks } from '../worker-links.ts';

export interface HttpDoor {
  readonly authenticator: Authenticator;
  readonly calls: WorkerCalls;
  readonly links: WorkerLinks;
  /** The durability levels of this node. */
  readonly levels: AckLevels;
  /** Node id of this server in clocks. */
  readonly nodeId: string;
  /** What people defined for the whole node; kept up to date. */
  readonly definitions: Definitions;
  /** The main thread: changes definitions, keeps the audit. */
  readonly node: NodeDesk;
  accessOf(principal: Principal | undefined): Access;
  /** A token was refused. */
  onRefused(reason: string): void;
}
