/**
 * A double of TopGunClient: what the real client sends, accepts and relies on, over a real socket, and nothing it does not.
 *
 *   offline ─ connect ─▶ authenticating ─▶ ready ─ socket closed ─▶ waiting ─ reconnect delay ─▶ connect …
 *                            │  token: AUTH at once, and again on AUTH_REQUIRED
 *                            └─ none:  DEVICE_HELLO; DEVICE_ACK, any other message or 500 ms of silence go on,
 *                                      AUTH_REQUIRED parks until `setToken`
 *
 * After every local write all unacknowledged ops go out again in one OP_BATCH. Missing on purpose: storage, back-pressure
 * at 1000 ops. Sources: docs/PROTOCOL.md §2.1, §5, and what the real client was seen to do.
 */
import { HybridLogicalClock } from '../../engine/crdt/hlc.ts';
import { decodeFrame, encodeFrame, isMessage, type Message } from './client-codec.ts';
import {
  mapsIn,
  numberIn,
  opAck,
  type OpAck,
  payloadOf,
  type ServerEvent,
  serverEvent,
  stampIn,
  textIn,
} from './client-fields.ts';
import { ClientLwwMap, ClientOrMap, rootOf, stampText } from './client-maps.ts';
import { ClientQueries, type ClientQueryView } from './client-queries.ts';
import { applyEvent } from './client-events.ts';
import { type ClientOp, ClientOpLog } from './client-op-log.ts';
import { type ClientMap, ClientSync } from './client-sync.ts';
import { type Closed, RawWebSocket } from './raw-websocket.ts';

const HELLO_WAIT_MS = 500;
const SETTLE_CHECK_MS = 4;
const SETTLE_DEADLINE_MS = 60_000;

export interface TopGunClientOptions {
  readonly port: number;
  readonly nodeId: string;
  readonly path?: string | undefined;
  readonly token?: string | undefined;
  /** Default Date.now: a wrong clock can be given. */
  readonly wallClock?: (() => number) | undefined;
  /** The real client waits a second and more. */
  readonly reconnectDelayMs?: number | undefined;
  /** Default 5000. */
  readonly pingIntervalMs?: number | undefined;
}

type State = 'offline' | 'connecting' | 'authenticating' | 'ready' | 'waiting';

export class TopGunClient {
  readonly nodeId: string;
  readonly clock: HybridLogicalClock;
  readonly log = new ClientOpLog();
  readonly sync: ClientSync;
  readonly queries: ClientQueries = new ClientQueries((message) => this.send(message));
  /** Messages received, by type. */
  readonly received = new Map<string, number>();
  readonly acks: OpAck[] = [];
  readonly rejected: Message[] = [];
  readonly errors: Message[] = [];
  readonly closes: Closed[] = [];
  deviceId: string | undefined;
  deviceToken: string | undefined;
  userId: string | undefined;
  onMessage: (message: Message) => void = () => {};
  /** Told of every local write. */
  onWrite: (op: Omit<ClientOp, 'id' | 'synced'>) => void = () => {};
  readonly #options: TopGunClientOptions;
  readonly #maps = new Map<string, ClientMap>();
  #token: string | undefined;
  #port: number;
  #state: State = 'offline';
  #socket: RawWebSocket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #wanted = false;
  /** Counts the attempts to connect: only the newest one counts. */
  #attempt = 0;
  #held = 0;
  /** What the server must not do. */
  #fault: Error | undefined;

  constructor(options: TopGunClientOptions) {
    this.#options = options;
    this.#token = options.token;
    this.#port = options.port;
    this.nodeId = options.nodeId;
    this.clock = new HybridLogicalClock(options.nodeId, options.wallClock ?? Date.now);
    this.sync = new ClientSync({
      maps: this.#maps,
      clock: this.clock,
      send: (message) => this.send(message),
      dropOrOps: (mapName, olderThan) => this.log.dropOrOps(mapName, olderThan),
    });
  }

  get state(): State {
    return this.#state;
  }

  /** The socket at hand, for tests that stop reading or cut it. */
  get socket(): RawWebSocket | undefined {
    return this.#socket;
  }

  /** Opens a map; the real client sends nothing for it before its next connection. */
  lww(mapName: string): ClientLwwMap {
    const map = this.#maps.get(mapName) ?? new ClientLwwMap();
    this.#maps.set(mapName, map);
    if (map instanceof ClientOrMap) throw new Error(`${mapName} is an OR-Map`);
    return map;
  }

  or(mapName: string): ClientOrMap {
    const map = this.#maps.get(mapName) ?? new ClientOrMap();
    this.#maps.set(mapName, map);
    if (!(map instanceof ClientOrMap)) throw new Error(`${mapName} is an LWW map`);
    return map;
  }

  root(mapName: string): number {
    return rootOf(this.#maps.get(mapName)?.tree() ?? new Map<string, number>());
  }

  get(mapName: string, key: string): unknown {
    return this.lww(mapName).get(key, Date.now());
  }

  set(mapName: string, key: string, value: unknown, ttlMs?: number): string {
    const timestamp = this.clock.now();
    const record = { value, timestamp, ...(ttlMs === undefined ? {} : { ttlMs }) };
    this.lww(mapName).records.set(key, record);
    return this.#write({ mapName, opType: 'PUT', key, record, timestamp });
  }

  remove(mapName: string, key: string): string {
    const timestamp = this.clock.now();
    const record = { value: null, timestamp };
    this.lww(mapName).records.set(key, record);
    return this.#write({ mapName, opType: 'REMOVE', key, record, timestamp });
  }

  add(mapName: string, key: string, value: unknown): string {
    const timestamp = this.clock.now();
    const orRecord = { value, timestamp, tag: stampText(timestamp) };
    this.or(mapName).apply(key, orRecord);
    return this.#write({ mapName, opType: 'OR_ADD', key, orRecord, timestamp });
  }

  /** Removes a value as far as it was seen: one op for each tag. */
  removeValue(mapName: string, key: string, value: unknown): void {
    const tags = this.or(mapName).remove(key, value);
    for (const orTag of tags) this.#write({ mapName, opType: 'OR_REMOVE', key, orTag, timestamp: this.clock.now() });
  }

  /** A live query; asked again after each reconnect. */
  query(mapName: string, query: object): ClientQueryView {
    return this.queries.open(mapName, query);
  }

  /** Writes many and sends them once: what the real client sends after writes made while it was offline. */
  together(writes: () => void): void {
    this.#held += 1;
    writes();
    this.#held -= 1;
    this.#flush();
  }

  /** Goes online and stays so, reconnecting, until `offline` or `close`. */
  online(port?: number): this {
    this.#port = port ?? this.#port;
    this.#wanted = true;
    if (this.#state === 'offline') void this.#connect();
    return this;
  }

  /** As `online`; resolves when the client is ready. */
  async connected(): Promise<this> {
    this.online();
    await this.#until(() => this.#state === 'ready', 'ready');
    return this;
  }

  /** Cuts the connection without a word and stays away. */
  offline(): void {
    this.#wanted = false;
    this.drop();
    clearTimeout(this.#timer);
    this.#state = 'offline';
  }

  /** Cuts the connection without a word; the client reconnects by itself. */
  drop(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    socket.terminate();
    this.#lost(socket, { code: 1006, reason: '' });
  }

  close(): void {
    this.offline();
  }

  /** Gives a parked client its token. */
  setToken(token: string): void {
    this.#token = token;
    if (this.#state === 'authenticating') this.#sendAuth();
  }

  /** Resolves when every op is acknowledged and every walk is done. Rejects with what the server did wrong. */
  async settled(deadlineMs: number = SETTLE_DEADLINE_MS): Promise<void> {
    const isSettled = (): boolean => this.#state === 'ready' && this.log.size === 0 && this.sync.open === 0;
    await this.#until(isSettled, 'settled', deadlineMs);
  }

  /** Walks every map, as a reconnect does, and resolves when all is settled. */
  async resynced(): Promise<void> {
    await this.settled();
    this.sync.beginAll();
    await this.settled();
  }

  send(message: Message): void {
    this.#socket?.send(encodeFrame(message));
  }

  #write(op: Omit<ClientOp, 'id' | 'synced'>): string {
    const id = this.log.append(op);
    this.onWrite(op);
    this.#flush();
    return id;
  }

  #flush(): void {
    if (this.#state !== 'ready' || this.#held > 0 || this.log.size === 0) return;
    this.send({ type: 'OP_BATCH', payload: { ops: this.log.pending } });
  }

  async #connect(): Promise<void> {
    this.#state = 'connecting';
    this.#attempt += 1;
    const attempt = this.#attempt;
    try {
      const socket = await RawWebSocket.open({ port: this.#port, path: this.#options.path });
      // Taken offline meanwhile, and perhaps online again: then a later attempt has the say.
      if (!this.#wanted || attempt !== this.#attempt) return socket.terminate();
      this.#socket = socket;
      socket.onMessage = (frame) => this.#take(socket, frame);
      void socket.closed.then((closed) => this.#lost(socket, closed));
      this.#authenticate();
    } catch {
      if (this.#wanted && attempt === this.#attempt) this.#reconnectLater();
    }
  }

  #authenticate(): void {
    this.#state = 'authenticating';
    if (this.#token !== undefined) return this.#sendAuth();
    this.send({ type: 'DEVICE_HELLO', deviceToken: this.deviceToken });
    this.#timer = setTimeout(() => this.#ready(), HELLO_WAIT_MS);
  }

  #sendAuth(): void {
    this.send({ type: 'AUTH', token: this.#token, deviceToken: this.deviceToken });
  }

  #lost(socket: RawWebSocket, closed: Closed): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.closes.push(closed);
    this.sync.forget();
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    if (this.#wanted) this.#reconnectLater();
    else this.#state = 'offline';
  }

  #reconnectLater(): void {
    this.#state = 'waiting';
    const delayMs = (this.#options.reconnectDelayMs ?? 50) * (0.5 + Math.random());
    this.#timer = setTimeout(() => void this.#connect(), delayMs);
  }

  #ready(): void {
    clearTimeout(this.#timer);
    const isFirst = this.#state !== 'ready';
    this.#state = 'ready';
    this.#flush();
    if (!isFirst) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => this.send({ type: 'PING', timestamp: Date.now() }), this.#options.pingIntervalMs ?? 5000);
    this.queries.resubscribe();
    this.sync.beginAll();
  }

  #take(socket: RawWebSocket, frame: Uint8Array): void {
    if (socket !== this.#socket) return;
    try {
      const message = decodeFrame(frame);
      if (!isMessage(message)) throw new TypeError('a frame is no map');
      this.#handle(message);
    } catch (error) {
      this.#fault ??= error instanceof Error ? error : new Error(String(error));
    }
  }

  #handle(message: Message): void {
    const type = textIn(message, 'type');
    this.received.set(type, (this.received.get(type) ?? 0) + 1);
    this.onMessage(message);
    if (this.#state === 'authenticating' && this.#handshake(type, message)) return;
    if (isMessage(message.timestamp)) this.clock.update(stampIn(message));
    switch (type) {
      case 'AUTH_REQUIRED':
        return this.#token === undefined ? undefined : this.#sendAuth();
      case 'AUTH_ACK':
        return this.#acknowledged(message);
      case 'DEVICE_ACK':
        return this.#keepDevice(message);
      case 'PONG':
        return void numberIn(message, 'serverTime');
      case 'ERROR':
        return void this.errors.push(payloadOf(message));
      case 'OP_ACK':
        return this.#ack(opAck(payloadOf(message)));
      case 'OP_REJECTED':
        return void this.rejected.push(payloadOf(message));
      case 'SERVER_EVENT':
        return this.#event(serverEvent(payloadOf(message)));
      case 'SERVER_BATCH_EVENT':
        for (const event of mapsIn(payloadOf(message), 'events')) this.#event(serverEvent(event));
        return;
      default:
        if (!this.sync.take(type, payloadOf(message)) && !this.queries.take(type, payloadOf(message)))
          throw new TypeError(`an unknown message: ${type}`);
    }
  }

  /** True when the message was a part of the handshake and nothing else. */
  #handshake(type: string, message: Message): boolean {
    switch (type) {
      case 'AUTH_REQUIRED':
        clearTimeout(this.#timer); // parked, when there is no token
        if (this.#token !== undefined) this.#sendAuth();
        return true;
      case 'AUTH_ACK':
        this.#acknowledged(message);
        return true;
      case 'AUTH_FAIL':
        this.#token = undefined;
        return true;
      case 'DEVICE_ACK':
        this.#keepDevice(message);
        this.#ready();
        return true;
      default:
        if (this.#token === undefined) this.#ready(); // taken for a server without a handshake
        return false;
    }
  }

  #acknowledged(message: Message): void {
    this.#keepDevice(message);
    if ('userId' in message) this.userId = textIn(message, 'userId');
    this.#ready();
  }

  #keepDevice(message: Message): void {
    if ('deviceId' in message) this.deviceId = textIn(message, 'deviceId');
    if ('deviceToken' in message) this.deviceToken = textIn(message, 'deviceToken');
  }

  #ack(ack: OpAck): void {
    if (!/^\d+$/.test(ack.lastId)) throw new TypeError(`lastId ${ack.lastId} would acknowledge everything`);
    this.acks.push(ack);
    this.log.acknowledge(ack);
  }

  #event(event: ServerEvent): void {
    applyEvent(this.#maps.get(event.mapName), event, this.clock);
  }

  async #until(condition: () => boolean, what: string, deadlineMs: number = SETTLE_DEADLINE_MS): Promise<void> {
    const endsMs = performance.now() + deadlineMs;
    while (!condition()) {
      if (this.#fault !== undefined) throw this.#fault;
      if (performance.now() > endsMs) throw new Error(`not ${what} after ${deadlineMs} ms: ${this.#describe()}`);
      await new Promise((resolve) => setTimeout(resolve, SETTLE_CHECK_MS));
    }
    if (this.#fault !== undefined) throw this.#fault;
  }

  #describe(): string {
    const { nodeId, log, sync, errors, closes } = this;
    const details = {
      nodeId,
      state: this.#state,
      pending: log.size,
      open: sync.open,
      errors: errors.slice(-3),
      closes: closes.slice(-3),
    };
    return JSON.stringify(details);
  }
}
