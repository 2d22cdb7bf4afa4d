/** What a gateway is given: its options, and what it shares with other threads. */
import type { ActMarks } from '../engine/domains/kv/act-marks.ts';
import type { JournalSequence } from '../engine/domains/persistence/journal-sequence.ts';
import type { Definitions } from '../engine/operation/definitions.ts';
import type { PartitionTable } from '../engine/partition/partition-table.ts';
import type { DurabilityOptions } from '../engine/protocol/ack-level.ts';
import type { BatchKernel } from '../engine/protocol/batch-kernel.ts';
import type { CounterRow } from '../workers/counters.ts';
import type { GridState } from '../workers/grid-state.ts';
import type { RingWriter } from '../workers/ring-writer.ts';
import type { WorkerCounter } from '../workers/worker-counters.ts';
import type { Authenticator } from './authentication.ts';
import type { DeviceIdentity } from './device-identity.ts';
import type { GatewayCounters } from './gateway-counters.ts';
import type { JournalMode } from './journal-desk.ts';
import type { NodeDesk } from './node-desk.ts';
import type { RespDoorOptions } from './resp/resp-door.ts';
import type { TurnClock } from './turn-clock.ts';

/** Options that a gateway needs; named as in engine/config.ts. */
export interface GatewayConfig extends DurabilityOptions {
  readonly maxSessions: number;
  readonly maxMaps: number;
  readonly policyBypassSubjects: readonly string[];
  readonly authDeadlineMs: number;
  readonly idleTimeoutMs: number;
  readonly opTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly rateOpsPerSecond: number;
  readonly rateBurstOps: number;
  readonly driftMaxMs: number;
  readonly sessionBufferBytesMax: number;
  readonly heldBytesMax: number;
  readonly sessionBackpressureBytesMax: number;
  readonly callsInFlightMax: number;
  readonly workerBreakerFailures: number;
  readonly workerBreakerOpenMs: number;
  readonly operationMetrics: boolean;
  readonly slowOperationMs: number;
  readonly priorities: boolean;
  readonly priorityWeightHigh: number;
  readonly priorityWeightNormal: number;
  readonly priorityWeightLow: number;
  readonly priorityFramesMax: number;
  readonly journal: JournalMode;
  readonly topicsPerSession: number;
  readonly topicMessageBytesMax: number;
  readonly queriesPerSession: number;
  readonly maxQueries: number;
  readonly queryRowsMax: number;
  readonly queryResultBytesMax: number;
  readonly gatewayThreads: number;
}

export interface GatewayOptions {
  readonly gateway: number;
  readonly config: GatewayConfig;
  readonly state: GridState;
  readonly table: PartitionTable;
  /** The numbers of journal events. */
  readonly journal: JournalSequence;
  /** Which acts over several workers are under way. */
  readonly acts: ActMarks;
  readonly inboxes: readonly RingWriter[];
  readonly counters: GatewayCounters;
  /** Where operations are counted: OperationMetrics.BYTES from the offset on. */
  readonly operations: { readonly memory: SharedArrayBuffer; readonly offset: number };
  /** What each worker publishes, by its number. */
  readonly workers: readonly CounterRow<WorkerCounter>[];
  /** When the youngest worker started, wall-clock ms; 0 when none has. */
  readonly workersStartedMs: () => number;
  readonly authenticator: Authenticator;
  readonly devices: DeviceIdentity;
  /** Node id of this server in clocks. */
  readonly nodeId: string;
  /** Clocks with a fixed offset: node id in UTF-8, ms to be added. */
  readonly quarantined: readonly (readonly [Uint8Array, number])[];
  /** What people defined for the whole node; kept up to date. */
  readonly definitions: Definitions;
  /** Changes them. */
  readonly node: NodeDesk;
  readonly onWildClock: (node: Uint8Array, millis: number) => void;
  /** A session began, or the last one ended, to listen to a map by name: a worker that is replaced must know. */
  readonly onInterest: (mapId: number, name: Uint8Array, wanted: boolean) => void;
  readonly log: (level: 'debug' | 'info' | 'warn', text: string, fields: object) => void;
  /** Scans what clients usually send. */
  readonly kernel?: BatchKernel | undefined;
  /** The Redis door, on the gateway that has one. */
  readonly resp?: RespOptions;
  /** For tests that let time pass by hand. */
  readonly clock?: TurnClock;
}

export type RespOptions = Pick<RespDoorOptions, 'config' | 'version' | 'facts' | 'shutDown' | 'mapNames'>;
