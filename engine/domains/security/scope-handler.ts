/**
 * Takes the scopes that gateways tell, and watches the stores while some session with row rules listens.
 */
import type { GridRequest, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { REQUEST_SCOPE, SCOPE_KNOWN, SCOPE_LISTENS } from '../../protocol/envelope.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import type { CompositeObserver, RecordObserver } from '../../storage/record-observer.ts';
import type { ScopeTable } from './scope-table.ts';

export class ScopeHandler implements RequestHandler {
  readonly kinds: readonly number[] = [REQUEST_SCOPE];
  readonly writeKinds: readonly number[] = [];
  readonly #scopes: ScopeTable;
  readonly #observers: CompositeObserver;
  readonly #events: RecordObserver;
  #watching = false;

  constructor(scopes: ScopeTable, observers: CompositeObserver, events: RecordObserver) {
    this.#scopes = scopes;
    this.#observers = observers;
    this.#events = events;
  }

  answer({ body, gateway, session: number }: GridRequest): RequestAnswer {
    const flags = body[0] ?? 0;
    if ((flags & SCOPE_KNOWN) === 0) this.#scopes.forget(gateway, number);
    else this.#scopes.tell(gateway, number, decodeText(body, 1, body.length), (flags & SCOPE_LISTENS) !== 0);
    this.#watch(this.#scopes.listening.length > 0);
    return [];
  }

  #watch(wanted: boolean): void {
    if (wanted === this.#watching) return;
    this.#watching = wanted;
    if (wanted) this.#observers.add(this.#events);
    else this.#observers.remove(this.#events);
  }
}
