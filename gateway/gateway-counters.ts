/**
 * What a gateway counts, and where the other threads can read it: plain fields while working, copied into this
 * gateway's row of shared memory on each tick.
 */
import { CounterRow } from '../workers/counters.ts';

export const GATEWAY_COUNTERS = [
  'connections', // gauge
  'connectionsOpened',
  'connectionsRefused',
  'connectionsClosed',
  'authFailures',
  'batches',
  'ops',
  'framesReceived',
  'framesSent',
  'framesMalformed',
  'framesUnknown',
  'framesHeld',
  'heldTooLong',
  'rateLimited',
  'overloaded',
  'writesRefused',
  'levelTimeouts',
  'deadlinesExceeded',
  'slowConsumersClosed',
  'eventsDelivered',
  'journalSubscriptions', // gauge
  'journalEventsDelivered',
  'liveQueries', // gauge
  'queryUpdates',
  'queriesFailed',
  'locksGranted',
  'locksGivenBack',
  'topicSubscriptions', // gauge
  'topicMessagesPublished',
  'topicMessagesDelivered',
  'openCalls', // gauge
  'heldSessions', // gauge
  'heldBytes', // gauge
  'requestsRetried',
  'sessionBytes', // gauge
  'clocksRefused',
  'loadShed',
  'refusedAtOnce',
  'respOpen', // gauge
  'respConnections',
  'respCommands',
  'heldHigh', // gauge
  'heldNormal', // gauge
  'heldLow', // gauge
  'servedHigh',
  'servedNormal',
  'servedLow',
  'refusedHigh',
  'refusedNormal',
  'refusedLow',
] as const;

export type GatewayCounter = (typeof GATEWAY_COUNTERS)[number];

type Fields = { -readonly [Name in GatewayCounter]: number };

export class GatewayCounters implements Fields {
  connections = 0;
  connectionsOpened = 0;
  connectionsRefused = 0;
  connectionsClosed = 0;
  authFailures = 0;
  batches = 0;
  ops = 0;
  framesReceived = 0;
  framesSent = 0;
  framesMalformed = 0;
  framesUnknown = 0;
  framesHeld = 0;
  heldTooLong = 0;
  rateLimited = 0;
  overloaded = 0;
  writesRefused = 0;
  levelTimeouts = 0;
  deadlinesExceeded = 0;
  slowConsumersClosed = 0;
  eventsDelivered = 0;
  journalSubscriptions = 0;
  journalEventsDelivered = 0;
  liveQueries = 0;
  queryUpdates = 0;
  queriesFailed = 0;
  locksGranted = 0;
  locksGivenBack = 0;
  topicSubscriptions = 0;
  topicMessagesPublished = 0;
  topicMessagesDelivered = 0;
  openCalls = 0;
  heldSessions = 0;
  heldBytes = 0;
  requestsRetried = 0;
  sessionBytes = 0;
  clocksRefused = 0;
  loadShed = 0;
  refusedAtOnce = 0;
  respOpen = 0;
  respConnections = 0;
  respCommands = 0;
  heldHigh = 0;
  heldNormal = 0;
  heldLow = 0;
  servedHigh = 0;
  servedNormal = 0;
  servedLow = 0;
  refusedHigh = 0;
  refusedNormal = 0;
  refusedLow = 0;
  readonly #row: CounterRow<GatewayCounter>;

  constructor(memory: SharedArrayBuffer, gateway: number) {
    this.#row = new CounterRow(memory, GATEWAY_COUNTERS, gateway);
  }

  /** Makes the fields visible to other threads. */
  publish(): void {
    for (let index = 0; index < GATEWAY_COUNTERS.length; index++) {
      const name = GATEWAY_COUNTERS[index];
      if (name !== undefined) this.#row.cells[index] = this[name];
    }
  }
}
