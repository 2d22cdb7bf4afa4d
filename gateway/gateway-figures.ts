/** What the parts of a gateway count, published for /metrics once a tick. */
import type { CallTable } from './call-table.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { FanOut } from './fan-out.ts';
import type { GatewayCounters } from './gateway-counters.ts';
import type { JournalDesk } from './journal-desk.ts';
import type { LockDesk } from './lock-desk.ts';
import type { Outgoing } from './outgoing.ts';
import type { QueryDesk } from './query-desk.ts';
import type { RespDoor } from './resp/resp-door.ts';
import type { SessionTable } from './session.ts';
import type { TopicDesk } from './topic-desk.ts';

export interface CountingParts {
  readonly sessions: SessionTable;
  readonly calls: CallTable;
  readonly dispatcher: Dispatcher;
  readonly outgoing: Outgoing;
  readonly fanOut: FanOut;
  readonly journal: JournalDesk;
  readonly queries: QueryDesk;
  readonly locks: LockDesk;
  readonly topics: TopicDesk;
  readonly resp: RespDoor | undefined;
}

export function publishFigures(counters: GatewayCounters, parts: CountingParts): void {
  const { sessions, calls, dispatcher, outgoing, fanOut, journal, queries, locks, topics, resp } = parts;
  counters.connections = sessions.count;
  counters.openCalls = calls.open;
  counters.heldSessions = dispatcher.heldSessions;
  dispatcher.count(counters);
  counters.framesSent = outgoing.framesSent;
  counters.slowConsumersClosed = outgoing.slowConsumersClosed + (resp?.slowConsumersClosed ?? 0);
  counters.eventsDelivered = fanOut.delivered;
  counters.journalSubscriptions = journal.feed.subscriptions;
  counters.journalEventsDelivered = journal.feed.delivered;
  counters.liveQueries = queries.queries;
  counters.queryUpdates = queries.updates;
  counters.queriesFailed = queries.failed;
  counters.locksGranted = locks.granted;
  counters.locksGivenBack = locks.givenBack;
  counters.topicSubscriptions = topics.subscriptions;
  counters.topicMessagesPublished = topics.published;
  counters.topicMessagesDelivered = topics.delivered;
  counters.publish();
}
