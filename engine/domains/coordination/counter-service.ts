/**
 * PN counters on a worker: joins what clients know of a counter, and tells the gateways that watch it.
 *
 *   READ   {name}                   ─▶ {frame}: COUNTER_RESPONSE; the gateway watches the counter from now on
 *   SYNC   {name, state, device}    ─▶ {frame, refused}: COUNTER_UPDATE; what rose goes to every gateway that watches, behind the log.
 *          isBlind: who only writes  the gateway does not watch the counter for it
 *   WATCH  {names}                  a gateway tells a new worker what it watches; each state comes as a push
 *   LEAVE  {name}                   nobody at the gateway watches the counter any more
 *
 * A client sends its whole state, so most of it is known here and none of the client's business. Whose an entry is:
 *
 *   of the device        may rise
 *   of another device    stays as it is; a rise is refused and counted
 *   of nobody            the first device that raises it owns it
 *   new                  the device's own, when it is the only new one. Several at once come from a client that knows more
 *                        than the server (which lost them): they are kept, and are of nobody yet
 *
 * A small counter is told whole. Of a large one only what rose is told, which joins to the same. What a batch raised is told
 * once, when the batch ends: of a counter that a hundred clients raise at once, nobody needs the states in between.
 *
 * Source: docs/PROTOCOL.md §8.3.
 */
import { assert } from '../../assert.ts';
import { type CounterState, type CounterWire, readCounterState } from '../../crdt/pn-counter.ts';
import type { GridRequest, PushSink, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { type Data, decode, encode, isData } from '../../protocol/codec.ts';
import {
  PUSH_COUNTER,
  REQUEST_COUNTER_LEAVE,
  REQUEST_COUNTER_READ,
  REQUEST_COUNTER_SYNC,
  REQUEST_COUNTER_WATCH,
} from '../../protocol/envelope.ts';
import { GridError } from '../../protocol/errors.ts';
import { encodeText } from '../../protocol/wire-text.ts';
import { type Counter, type CounterEntry, type CounterTable, isRaise } from './counter-table.ts';

/** Above so many nodes a counter's changes are told, not the whole of it. */
const WHOLE_NODES_MAX = 64;
/** As for the clocks of records. */
const NODE_BYTES_MAX = 256;

export interface CounterLimits {
  /** Counters of this worker. */
  readonly countersMax: number;
  /** Nodes of one counter. */
  readonly nodesMax: number;
}

export interface CounterServiceOptions extends CounterLimits {
  readonly table: CounterTable;
  readonly pushes: PushSink;
}

/** What a batch raised of a counter. */
interface News {
  readonly raised: Set<CounterEntry>;
  /** Who raised it and has been answered, when it was one session alone. */
  readonly gateway: number;
  session: number;
}

export class CounterService implements RequestHandler {
  readonly kinds: readonly number[] = [REQUEST_COUNTER_READ, REQUEST_COUNTER_SYNC, REQUEST_COUNTER_WATCH, REQUEST_COUNTER_LEAVE];
  readonly writeKinds: readonly number[] = [REQUEST_COUNTER_SYNC];
  readonly #options: CounterServiceOptions;
  readonly #news = new Map<Counter, News>();

  constructor(options: CounterServiceOptions) {
    this.#options = options;
  }

  answer({ kind, body, gateway, session, nowMs }: GridRequest): RequestAnswer {
    const decoded = decode(body);
    assert(isData(decoded), 'a request about counters is a map');
    const name = text(decoded, 'name');
    switch (kind) {
      case REQUEST_COUNTER_READ:
        return [encode({ frame: frameOf('COUNTER_RESPONSE', name, this.#watch(name, gateway).entries.values()) }).slice()];
      case REQUEST_COUNTER_SYNC:
        return [this.#sync(name, text(decoded, 'device'), decoded.state, decoded.isBlind === true, gateway, session, nowMs)];
      case REQUEST_COUNTER_WATCH:
        return this.#watchAll(decoded.names, gateway);
      default:
        assert(kind === REQUEST_COUNTER_LEAVE, `request of kind ${kind}`);
        return this.#leave(name, gateway);
    }
  }

  #watch(name: string, gateway: number): Counter {
    const counter = this.#opened(name);
    counter.watchedBy[gateway] = true;
    return counter;
  }

  /** Throws GridError TOO_MANY_COUNTERS. */
  #opened(name: string): Counter {
    const { table, countersMax } = this.#options;
    if (table.find(name) === undefined && table.counters >= countersMax) {
      throw new GridError('TOO_MANY_COUNTERS', `there are ${countersMax} counters: raise LATTICE_MAX_COUNTERS`);
    }
    return table.open(name);
  }

  #watchAll(names: unknown, gateway: number): RequestAnswer {
    for (const name of Array.isArray(names) ? names : []) {
      if (typeof name !== 'string') continue;
      const counter = this.#watch(name, gateway);
      this.#push(counter, gateway, 0, frameOf('COUNTER_UPDATE', name, counter.entries.values()));
    }
    return [];
  }

  #leave(name: string, gateway: number): RequestAnswer {
    const counter = this.#options.table.find(name);
    if (counter === undefined) return [];
    counter.watchedBy[gateway] = false;
    this.#options.table.dropIfUnused(counter);
    return [];
  }

  #sync(
    name: string,
    device: string,
    wire: unknown,
    isBlind: boolean,
    gateway: number,
    session: number,
    nowMs: number,
  ): Uint8Array {
    const state = readCounterState(wire);
    if (state === null) throw new GridError('BAD_REQUEST', 'a counter without a state');
    const counter = isBlind ? this.#opened(name) : this.#watch(name, gateway);
    try {
      return this.#joined(counter, state, device, gateway, session, nowMs);
    } finally {
      if (isBlind) this.#options.table.dropIfUnused(counter);
    }
  }

  #joined(counter: Counter, state: CounterState, device: string, gateway: number, session: number, nowMs: number): Uint8Array {
    const { name } = counter;
    const { raised, refused } = this.#join(counter, state, device, nowMs);
    if (raised.length > 0) this.#note(counter, raised, gateway, session);
    this.#options.table.refusals += refused;
    return encode({ frame: frameOf('COUNTER_UPDATE', name, unknownTo(state, counter)), refused }).slice();
  }

  /** Throws GridError COUNTER_FULL when the nodes that are new do not all fit; then nothing has changed. */
  #join(counter: Counter, state: CounterState, device: string, nowMs: number): { raised: CounterEntry[]; refused: number } {
    const { table, nodesMax } = this.#options;
    const nodes = [...new Set([...state.positive.keys(), ...state.negative.keys()])].filter(isNode);
    const fresh = nodes.filter((node) => !counter.entries.has(node));
    if (counter.entries.size + fresh.length > nodesMax) {
      throw new GridError('COUNTER_FULL', `counter ${counter.name} has ${nodesMax} nodes: raise LATTICE_COUNTER_NODES_MAX`);
    }
    const newOwner = fresh.length === 1 ? device : '';
    const raised: CounterEntry[] = [];
    let refused = 0;
    for (const node of nodes) {
      const positive = state.positive.get(node) ?? 0;
      const negative = state.negative.get(node) ?? 0;
      const known = counter.entries.get(node);
      if (!isRaise(known, positive, negative)) continue;
      if (known !== undefined && known.owner !== '' && known.owner !== device) {
        refused += 1;
        continue;
      }
      table.join(counter, node, known === undefined ? newOwner : device, positive, negative, nowMs);
      const entry = counter.entries.get(node);
      if (entry !== undefined) raised.push(entry);
    }
    return { raised, refused };
  }

  #note(counter: Counter, raised: readonly CounterEntry[], gateway: number, session: number): void {
    const news = this.#news.get(counter) ?? { raised: new Set(), gateway, session };
    for (const entry of raised) news.raised.add(entry);
    if (news.gateway !== gateway || news.session !== session) news.session = 0;
    this.#news.set(counter, news);
  }

  /** Tells what the batch raised. */
  settled(): void {
    if (this.#news.size === 0) return;
    for (const [counter, news] of this.#news) if (counter.isWatched) this.#tell(counter, news);
    this.#news.clear();
  }

  #tell(counter: Counter, { raised, gateway: origin, session }: News): void {
    const entries = counter.entries.size <= WHOLE_NODES_MAX ? counter.entries.values() : raised;
    const frame = frameOf('COUNTER_UPDATE', counter.name, entries);
    for (let gateway = 0; gateway < counter.watchedBy.length; gateway++) {
      if (counter.watchedBy[gateway] === true) this.#push(counter, gateway, gateway === origin ? session : 0, frame);
    }
  }

  /** `origin` is the session at that gateway that knows already; 0 = none. */
  #push({ name }: Counter, gateway: number, origin: number, frame: Uint8Array): void {
    this.#options.pushes.push(gateway, 0, PUSH_COUNTER, encode({ name, origin, frame }).slice());
  }
}

/** What the sender of `state` does not know, or of a small counter everything. */
function unknownTo(state: CounterState, counter: Counter): Iterable<CounterEntry> {
  if (counter.entries.size <= WHOLE_NODES_MAX) return counter.entries.values();
  return [...counter.entries.values()].filter(
    ({ node, positive, negative }) => positive > (state.positive.get(node) ?? 0) || negative > (state.negative.get(node) ?? 0),
  );
}

/** A message to clients that tells some entries of a counter. */
function frameOf(type: 'COUNTER_RESPONSE' | 'COUNTER_UPDATE', name: string, entries: Iterable<CounterEntry>): Uint8Array {
  return encode({ type, payload: { name, state: wireOf(entries) } }).slice();
}

/** Both spellings of some entries of a counter. */
function wireOf(entries: Iterable<CounterEntry>): CounterWire {
  const positive: Record<string, number> = Object.create(null); // a node may be called `__proto__`
  const negative: Record<string, number> = Object.create(null);
  for (const entry of entries) {
    if (entry.positive > 0) positive[entry.node] = entry.positive;
    if (entry.negative > 0) negative[entry.node] = entry.negative;
  }
  return { positive, negative, p: positive, n: negative };
}

function isNode(node: string): boolean {
  return node !== '' && node.length <= NODE_BYTES_MAX && encodeText(node).length <= NODE_BYTES_MAX;
}

function text(fields: Data, name: string): string {
  const value = fields[name];
  return typeof value === 'string' ? value : '';
}
