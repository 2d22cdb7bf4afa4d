/**
 * The domains of a worker, wired: what each needs of the thread, and who answers which request.
 *
 * A new domain is a line here. The list is the same in a worker thread and in the tests' node of one thread.
 */
import type { CrdtService } from '../engine/domains/crdt/crdt-service.ts';
import type { MapCatalogue } from '../engine/domains/crdt/map-catalogue.ts';
import { SyncHandler } from '../engine/domains/sync/sync-handler.ts';
import type { SyncService } from '../engine/domains/sync/sync-service.ts';
import { type PushSink, RequestHandlers } from '../engine/operation/request-handler.ts';
import type { CompositeObserver } from '../engine/storage/record-observer.ts';

/** What the domains of one worker stand on. */
export interface DomainContext {
  readonly worker: number;
  readonly maps: MapCatalogue;
  readonly crdt: CrdtService;
  readonly sync: SyncService;
  /** Tells sessions what they did not ask. */
  readonly pushes: PushSink;
  /** Told of every change of every store here. */
  readonly observers: CompositeObserver;
  /** Node id of this server in clocks, UTF-8. */
  readonly nodeId: Uint8Array;
  /** Wall clock, ms. */
  readonly nowMs: () => number;
}

export function domainHandlers(context: DomainContext): RequestHandlers {
  return new RequestHandlers([new SyncHandler(context.sync)]);
}
