/**
 * The queries of the client double: what the real client keeps of a result, and how it asks again after a reconnect.
 *
 * QUERY_RESP replaces the set, LEAVE deletes, anything else sets; updates of unknown queries are ignored. Frames: docs/PROTOCOL.md §6.
 * Unlike the real client it notes what a right server never does: an update before the result, a row that enters twice, one
 * that changes or leaves without being there.
 */
import { isMessage, type Message } from './client-codec.ts';
import { mapsIn, textIn } from './client-fields.ts';

export class ClientQueryView {
  readonly id: string;
  readonly mapName: string;
  readonly query: object;
  readonly rows = new Map<string, unknown>();
  /** The last QUERY_RESP; undefined before the first. */
  response: Message | undefined;
  responses = 0;
  readonly updates = { ENTER: 0, UPDATE: 0, LEAVE: 0 };
  /** What should not have been sent, in words. */
  readonly faults: string[] = [];
  /** Told of every message. */
  onChange: () => void = () => {};

  constructor(id: string, mapName: string, query: object) {
    this.id = id;
    this.mapName = mapName;
    this.query = query;
  }

  get isSettled(): boolean {
    return this.response !== undefined;
  }

  replace(payload: Message): void {
    this.response = payload;
    this.responses += 1;
    this.rows.clear();
    for (const row of mapsIn(payload, 'results')) this.rows.set(textIn(row, 'key'), row.value);
    this.onChange();
  }

  change(payload: Message): void {
    const key = textIn(payload, 'key');
    const type = textIn(payload, 'changeType');
    if (this.response === undefined) this.faults.push(`${type} of ${key} before the result`);
    if (type !== 'ENTER' && type !== 'UPDATE' && type !== 'LEAVE') throw new TypeError(`a change of type ${type}`);
    if (this.rows.has(key) === (type === 'ENTER'))
      this.faults.push(`${type} of ${key}, which ${type === 'ENTER' ? 'is' : 'is not'} in the view`);
    this.updates[type] += 1;
    if (type === 'LEAVE') this.rows.delete(key);
    else this.rows.set(key, payload.value);
    this.onChange();
  }
}

export class ClientQueries {
  readonly #views = new Map<string, ClientQueryView>();
  readonly #send: (message: Message) => void;
  #number = 0;

  constructor(send: (message: Message) => void) {
    this.#send = send;
  }

  open(mapName: string, query: object): ClientQueryView {
    this.#number += 1;
    const view = new ClientQueryView(`query-${this.#number}`, mapName, query);
    this.#views.set(view.id, view);
    this.#subscribe(view);
    return view;
  }

  end(view: ClientQueryView): void {
    this.#views.delete(view.id);
    this.#send({ type: 'QUERY_UNSUB', payload: { queryId: view.id } });
  }

  /** Asks all of them again, as after a reconnect. */
  resubscribe(): void {
    for (const view of this.#views.values()) this.#subscribe(view);
  }

  take(type: string, payload: Message): boolean {
    if (type !== 'QUERY_RESP' && type !== 'QUERY_UPDATE') return false;
    const view = this.#views.get(textIn(payload, 'queryId'));
    if (type === 'QUERY_RESP') view?.replace(payload);
    else view?.change(payload);
    return true;
  }

  #subscribe({ id, mapName, query }: ClientQueryView): void {
    this.#send({ type: 'QUERY_SUB', payload: { queryId: id, mapName, query: isMessage(query) ? query : {} } });
  }
}
