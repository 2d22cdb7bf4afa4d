/**
 * Names, types and meanings of the metrics, a line for every counter that a thread keeps in shared memory.
 *
 * Counters end in `_total` and only rise until their thread is replaced, gauges carry their unit last. Several counters
 * may share a name when a label tells them apart; the first one's help stands for all.
 */
import type { ThreadCounter } from '../workers/counters.ts';
import type { RingStats } from '../workers/ring-layout.ts';
import type { WorkerCounter } from '../workers/worker-counters.ts';
import type { GatewayCounter } from './gateway-counters.ts';

export interface MetricDefinition {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  /** Labels beside that of the thread. */
  readonly labels?: Readonly<Record<string, string>>;
}

type Labels = Readonly<Record<string, string>>;

function counter(name: string, help: string, labels: Labels = {}): MetricDefinition {
  return { name: `lattice_${name}_total`, type: 'counter', help, labels };
}

function gauge(name: string, help: string, labels: Labels = {}): MetricDefinition {
  return { name: `lattice_${name}`, type: 'gauge', help, labels };
}

const LOOP_DELAY_HELP = 'How late the event loop of the thread was in its last second, in ms; quantile 1 is the latest.';
const FRAMES_WAITING_HELP = 'Frames held back now, by the priority of their session.';
const FRAMES_SERVED_HELP = 'Frames that were served after they had been held back, by priority.';
const FRAMES_REFUSED_HELP = 'Frames refused because too many of their priority waited.';
const MERGES_HELP = 'Merges by result: newer than what was stored, older, or the same again.';

export const GATEWAY_METRICS: Readonly<Record<GatewayCounter, MetricDefinition>> = {
  connections: gauge('connections', 'Open connections.'),
  connectionsOpened: counter('connections_opened', 'Connections taken.'),
  connectionsRefused: counter('connections_refused', 'Connections refused because there were too many.'),
  connectionsClosed: counter('connections_closed', 'Connections that ended, for whatever reason.'),
  authFailures: counter('auth_failures', 'Tokens refused.'),
  batches: counter('batches', 'Frames of operations taken in.'),
  ops: counter('ops', 'Operations taken in.'),
  framesReceived: counter('frames_received', 'Frames read from clients.'),
  framesSent: counter('frames_sent', 'Frames sent to clients.'),
  framesMalformed: counter('frames_malformed', 'Frames dropped because they could not be read.'),
  framesUnknown: counter('frames_unknown', 'Frames dropped because their type is not known.'),
  framesHeld: counter('frames_held', 'Frames held back until a ring had room.'),
  heldTooLong: counter('held_too_long', 'Connections closed because a frame was held back for too long.'),
  rateLimited: counter('rate_limited', 'Frames dropped by the rate limit.'),
  overloaded: counter('overloaded', 'Frames dropped because rings or staging were full.'),
  writesRefused: counter(
    'writes_refused',
    'Frames of operations refused by a worker that is not overloaded: READ_ONLY and the like.',
  ),
  levelTimeouts: counter('level_timeouts', 'Frames of operations answered before they were PERSISTED, their timeout being over.'),
  deadlinesExceeded: counter('deadlines_exceeded', 'Calls that were not answered by their deadline.'),
  slowConsumersClosed: counter('slow_consumers_closed', 'Connections closed because they did not read what was sent.'),
  eventsDelivered: counter('events_delivered', 'Change events sent, counted once a receiver.'),
  journalSubscriptions: gauge('journal_subscriptions', 'Subscriptions of the journal.'),
  journalEventsDelivered: counter('journal_events_delivered', 'Events of the journal sent to subscribers.'),
  liveQueries: gauge('live_queries', 'Live queries of sessions.'),
  queryUpdates: counter('query_updates', 'Rows that were told to have entered, changed or left a live query.'),
  queriesFailed: counter(
    'queries_failed',
    'Live queries that the server ended with an error, before their first result or after it.',
  ),
  locksGranted: counter('locks_granted', 'Locks granted to sessions.'),
  locksGivenBack: counter('locks_given_back', 'Grants given back: they came too late, or a worker could not log their token.'),
  topicSubscriptions: gauge('topic_subscriptions', 'Subscriptions to topics, of sessions and of other doors.'),
  topicMessagesPublished: counter('topic_messages_published', 'Messages published to topics here.'),
  topicMessagesDelivered: counter('topic_messages_delivered', 'Messages of topics handed to subscribers.'),
  openCalls: gauge('calls_in_flight', 'Calls that wait for workers.'),
  heldSessions: gauge('sessions_held', 'Sessions with frames held back.'),
  requestsRetried: counter(
    'requests_retried',
    'Requests of doors that were made again, because no worker had taken them or a repeat changes nothing.',
  ),
  heldBytes: gauge('held_bytes', 'Frames held back, of all sessions.'),
  sessionBytes: gauge(
    'session_bytes',
    'Memory of all sessions: frames held for them, bytes they have not read, what they listen to.',
  ),
  clocksRefused: counter(
    'clocks_refused',
    'Clocks ahead of the server that got no offset, because their client had named too many.',
  ),
  loadShed: counter('load_shed', 'Requests refused at once because too many were under way.'),
  refusedAtOnce: counter('refused_at_once', 'Requests refused at once because their worker had not answered for some time.'),
  respOpen: gauge('resp_connections', 'Open connections of Redis clients.'),
  respConnections: counter('resp_connections_opened', 'Connections taken from Redis clients.'),
  respCommands: counter('resp_commands', 'Commands of Redis clients, those refused included.'),
  heldHigh: gauge('frames_waiting', FRAMES_WAITING_HELP, { priority: 'high' }),
  heldNormal: gauge('frames_waiting', FRAMES_WAITING_HELP, { priority: 'normal' }),
  heldLow: gauge('frames_waiting', FRAMES_WAITING_HELP, { priority: 'low' }),
  servedHigh: counter('frames_served_late', FRAMES_SERVED_HELP, { priority: 'high' }),
  servedNormal: counter('frames_served_late', FRAMES_SERVED_HELP, { priority: 'normal' }),
  servedLow: counter('frames_served_late', FRAMES_SERVED_HELP, { priority: 'low' }),
  refusedHigh: counter('frames_class_full', FRAMES_REFUSED_HELP, { priority: 'high' }),
  refusedNormal: counter('frames_class_full', FRAMES_REFUSED_HELP, { priority: 'normal' }),
  refusedLow: counter('frames_class_full', FRAMES_REFUSED_HELP, { priority: 'low' }),
};

export const WORKER_METRICS: Readonly<Record<WorkerCounter, MetricDefinition>> = {
  ops: counter('worker_ops', 'Operations handled by the worker.'),
  batches: counter('worker_batches', 'Batches of operations handled by the worker.'),
  requests: counter('worker_requests', 'Sync requests answered by the worker.'),
  mergesApplied: counter('merges', MERGES_HELP, { result: 'applied' }),
  mergesStale: counter('merges', MERGES_HELP, { result: 'stale' }),
  mergesDuplicate: counter('merges', MERGES_HELP, { result: 'duplicate' }),
  clockTies: counter('clock_ties', 'Merges of equal clocks with different values, settled by the larger bytes.'),
  rejected: counter('rejected', 'Operations answered OP_REJECTED.'),
  schemaViolations: counter(
    'schema_violations',
    'Values that did not fit the schema of their map, refused (strict) or not (warn).',
  ),
  refused: counter('refused', 'Batches refused because staging was full.'),
  records: gauge('records', 'Records in memory, tombstones included.'),
  tombstones: gauge('tombstones', 'Tombstones in memory.'),
  slabUsedBytes: gauge('slab_used_bytes', 'Bytes of records in memory.'),
  slabReservedBytes: gauge('slab_reserved_bytes', 'Bytes of memory set aside for records.'),
  maps: gauge('maps', 'Maps that have records at the worker.'),
  stagedRecords: gauge('staged_records', 'Records that are not in the data store yet.'),
  stagedBytes: gauge('staged_bytes', 'Bytes that are not in the data store yet.'),
  flushLagMs: gauge('flush_lag_ms', 'Age of the oldest change that is not in the data store yet, in ms.'),
  flushes: counter('flushes', 'Batches committed in the data store.'),
  flushedRows: counter('flushed_rows', 'Rows committed in the data store.'),
  flushFailures: counter('flush_failures', 'Batches that the data store did not commit.'),
  deadLetters: counter('dead_letters', 'Writes given up and kept as dead letters.'),
  storageState: gauge('storage_state', 'The data store as the worker sees it: 0 normal, 1 degraded, 2 failed.'),
  tombstonesPruned: counter('tombstones_pruned', 'Tombstones forgotten after the horizon.'),
  eventsEncoded: counter('events_encoded', 'Change events encoded.'),
  recordsLoaded: gauge('records_loaded', 'Records loaded from the data store, of the load under way or done.'),
  logSequence: gauge('log_sequence', 'Sequence of the last frame written to the log.'),
  logSyncedSequence: gauge('log_synced_sequence', 'Frames of the log up to this sequence survive a power loss.'),
  logFlushedSequence: gauge('log_flushed_sequence', 'Frames of the log up to this sequence are in the data store too.'),
  logBytes: gauge('log_bytes', 'Bytes of all segments of the log on disk.'),
  logSegments: gauge('log_segments', 'Segments of the log on disk.'),
  logSyncs: counter('log_syncs', 'Times the log was forced to the disk.'),
  logSyncMs: gauge('log_sync_ms', 'How long the last sync of the log took, in ms.'),
  logSyncedAtMs: gauge(
    'log_synced_at_ms',
    'Wall-clock time of the last moment at which the log was on the disk, in ms; 0 for none.',
  ),
  logState: gauge('log_state', 'The log: 0 open, 1 off, 2 the disk is full, 3 the log is full, 4 failed.'),
  logReplayed: gauge('log_replayed', 'Records taken from the log at the last load.'),
  damagedPartitions: gauge('damaged_partitions', 'Partitions that are read-only until the log is repaired.'),
  expired: counter('expired', 'Records removed because their time to live was over.'),
  memoryBytes: gauge('memory_bytes', 'Bytes of the worker that count against the memory bound.'),
  evicted: counter('evicted', 'Values dropped from memory; the data store has them.'),
  valueLoads: counter('value_loads', 'Values read back from the data store.'),
  valuesMissing: counter('values_missing', 'Values dropped from memory that the data store did not have; should stay 0.'),
  readsParked: gauge('reads_parked', 'Reads that wait for a value from the data store.'),
  memoryRefusals: counter('memory_refusals', 'Batches refused because no memory was left.'),
  breakerState: gauge('breaker_state', 'The circuit breaker of the data store: 0 closed, 1 half-open, 2 open.'),
  recoveryState: gauge('recovery_state', 'The worker: 0 normal, 1 degraded, 2 failed, 3 recovering.'),
  journalRecorded: counter('journal_recorded', 'Events recorded in the journal.'),
  journalDropped: counter('journal_dropped', 'Events of the journal that went for want of room, or by age.'),
  journalEvents: gauge('journal_events', 'Events that the journal holds.'),
  journalBytes: gauge('journal_bytes', 'Memory of the events that the journal holds, about.'),
  counters: gauge('counters', 'PN counters at the worker.'),
  counterNodes: gauge('counter_nodes', 'Nodes of all PN counters at the worker.'),
  counterBytes: gauge('counter_bytes', 'Memory of the PN counters at the worker, about.'),
  counterJoins: counter('counter_joins', 'Sums of nodes of PN counters that rose.'),
  counterRefusals: counter('counter_refusals', 'Sums of nodes of PN counters refused because the node is another device.'),
  queryRowsLooked: counter('query_rows_looked', 'Rows looked at to fill live queries.'),
  indexEntries: gauge('index_entries', 'Rows in the indexes of attributes at the worker.'),
  indexBytes: gauge('index_bytes', 'Memory of the indexes of attributes at the worker, about.'),
};

export const THREAD_METRICS: Readonly<Record<ThreadCounter, MetricDefinition>> = {
  startedAtMs: gauge('thread_started_at_ms', 'Wall-clock time at which the thread started, in ms; 0 when it has not.'),
  lastHealthCheckAtMs: gauge('thread_last_health_check_at_ms', 'Wall-clock time of the last report, in ms; 0 for none.'),
  turns: counter('thread_turns', 'Turns of the run loop.'),
  batches: counter('thread_batches', 'Turns of the run loop that found records.'),
  records: counter('thread_records', 'Ring records handled.'),
  loopDelayP50Ms: gauge('event_loop_delay_ms', LOOP_DELAY_HELP, { quantile: '0.5' }),
  loopDelayP99Ms: gauge('event_loop_delay_ms', LOOP_DELAY_HELP, { quantile: '0.99' }),
  loopDelayMaxMs: gauge('event_loop_delay_ms', LOOP_DELAY_HELP, { quantile: '1' }),
  heapUsedBytes: gauge('thread_heap_used_bytes', 'JavaScript heap in use, in bytes.'),
};

/** Of operations, where they are counted: label operation, and what is said here. */
export const OPERATION_METRICS = {
  handled: counter('operations', 'Operations by type and by how their handler took them; HELD ones come again.', {
    operation: '',
    status: '',
  }),
  totalMs: counter('operation_ms', 'Time from taking operations in to their answers, in ms.', { operation: '' }),
  within: counter('operations_ended', 'Operations that were answered in less than `le` ms, for histogram_quantile.', {
    operation: '',
    le: '',
  }),
} as const;

/** Of each ring: labels gateway, worker and direction. */
export const RING_METRICS: readonly (MetricDefinition & { readonly read: (stats: RingStats) => number })[] = [
  { ...gauge('ring_depth_records', 'Records that wait in the ring.'), read: (stats) => stats.recordsPending },
  { ...gauge('ring_used_bytes', 'Bytes in use.'), read: (stats) => stats.usedBytes },
  { ...gauge('ring_capacity_bytes', 'Bytes that the ring holds.'), read: (stats) => stats.capacityBytes },
  { ...counter('ring_records_written', 'Records written.'), read: (stats) => stats.recordsWritten },
  { ...counter('ring_records_read', 'Records read.'), read: (stats) => stats.recordsRead },
  { ...counter('ring_bytes_written', 'Payload bytes written.'), read: (stats) => stats.bytesWritten },
  { ...counter('ring_full', 'How often the writer was told that the ring is full.'), read: (stats) => stats.fullAnswers },
  { ...counter('ring_wakeups', 'How often the writer had to wake the reader.'), read: (stats) => stats.bellsRung },
  {
    ...counter('ring_missed_wakeups', 'How often records lay beside a sleeping reader; should stay 0.'),
    read: (stats) => stats.missedWakeups,
  },
];

const MICROSECONDS_PER_SECOND = 1e6;

/** Of the whole process, whichever thread answers, under the names that dashboards know. */
export const PROCESS_METRICS: readonly (MetricDefinition & { readonly read: () => number })[] = [
  {
    name: 'process_cpu_seconds_total',
    type: 'counter',
    help: 'CPU time of the process, user and system, in seconds.',
    read: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / MICROSECONDS_PER_SECOND;
    },
  },
  {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    help: 'Resident memory of the process, in bytes.',
    read: () => process.memoryUsage.rss(),
  },
  {
    name: 'nodejs_external_memory_bytes',
    type: 'gauge',
    help: 'Memory outside the JavaScript heap of the answering thread, in bytes.',
    read: () => process.memoryUsage().external,
  },
];
