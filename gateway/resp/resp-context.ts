/** What all connections of the Redis door share. */
import type { CommandBatchWriter } from '../../engine/domains/kv/command-batch.ts';
import type { ActMarks } from '../../engine/domains/kv/act-marks.ts';
import type { MapNameFilter } from '../../engine/domains/kv/map-name-filter.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RecoveryState } from '../../engine/storage/recovery-state.ts';
import type { AccessControl } from '../access-control.ts';
import type { Authenticator } from '../authentication.ts';
import type { GatewayCounters } from '../gateway-counters.ts';
import type { TopicDesk } from '../topic-desk.ts';
import type { TurnClock } from '../turn-clock.ts';
import type { WorkerCalls } from '../worker-calls.ts';
import type { WorkerLinks } from '../worker-links.ts';
import type { CommandRouter } from './command-router.ts';
import type { JointActs } from './joint-acts.ts';
import type { MessageFrames } from './message-frames.ts';
import type { RespConnection } from './resp-connection.ts';
import type { SlowLog } from './slow-log.ts';
import type { UnreadReplies } from './unread-replies.ts';

/** Options of the door; named as in engine/config.ts, of which it is a part. */
export interface RespConfig {
  readonly respPort: number;
  readonly respPassword: string | undefined;
  readonly respSubject: string;
  readonly maxSessions: number;
  readonly maxMaps: number;
  readonly topicsPerSession: number;
  readonly opTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly authDeadlineMs: number;
  readonly sessionBufferBytesMax: number;
  readonly sessionBackpressureBytesMax: number;
  readonly heldBytesMax: number;
  readonly host: string;
  readonly store: 'write-behind' | 'write-through' | 'none';
  readonly wal: boolean;
  readonly walFsync: string;
}

/** The topics of the grid, as far as this door uses them. */
export type Topics = Pick<
  TopicDesk,
  'subscribe' | 'subscribePattern' | 'unsubscribe' | 'unsubscribePattern' | 'publish' | 'census'
>;

export interface RespContext {
  readonly config: RespConfig;
  /** Version of the program. */
  readonly version: string;
  readonly calls: WorkerCalls;
  readonly links: WorkerLinks;
  readonly router: CommandRouter;
  readonly mapNames: MapNameFilter;
  /** Which acts are under way, for readers of several workers. */
  readonly marks: ActMarks;
  /** One a worker; empty between turns. */
  readonly writers: readonly CommandBatchWriter[];
  /** Where connections write replies of their own; empty between turns. */
  readonly local: RespWriter;
  /** What is one over several workers. */
  readonly acts: JointActs;
  /** As `router` and `writers`, for acts. */
  readonly actRouter: CommandRouter;
  readonly actWriters: readonly CommandBatchWriter[];
  readonly authenticator: Authenticator;
  readonly accessControl: AccessControl;
  readonly clock: TurnClock;
  readonly counters: GatewayCounters;
  readonly slowLog: SlowLog;
  readonly topics: Topics;
  readonly frames: MessageFrames;
  readonly facts: RespFacts;
  /** What clients have not read, of all connections. */
  readonly unread: UnreadReplies;
  /** All connections of the door, oldest first. */
  readonly connections: ReadonlySet<RespConnection>;
  /** Notes that a connection waits for room at the worker, or until it is there: it is asked to `retry`. */
  readonly hold: (connection: RespConnection, worker: number) => void;
  /** Counts a connection that is closed because its client does not read. */
  readonly onSlowClosed: () => void;
  readonly log: (level: 'info' | 'warn', text: string, fields: object) => void;
  /** Ends the server as a signal would. */
  readonly shutDown: () => void;
}

/** What INFO says of the node. */
export interface RespFacts {
  readonly startedMs: () => number;
  readonly memoryBytes: () => number;
  readonly memoryMaxBytes: () => number;
  readonly isLoading: () => boolean;
  /** How each worker stands with its storage. */
  readonly recovery: () => readonly RecoveryState[];
  readonly commands: () => number;
}
