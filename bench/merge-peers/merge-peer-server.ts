/**
 * A peer that merges, as its documentation starts it, with nothing on disk: node merge-peer-server.js <name>. The packages are in bench/peers.
 *
 * Beside its WebSocket it answers three questions of the benchmark over HTTP, outside the time that is measured save for `changed`:
 *
 *   /open?room=…      makes the document, and says by which name clients must speak of it
 *   /changed?room=…   when it last changed, ms since 1970
 *   /state?room=…     all its keys and titles, read with the peer's own interface from what the server has in memory
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { startGunRelay } from '../gun-relay.ts';
import { importPeer } from '../peer-packages.ts';
import { AUTOMERGE_PEER_ID } from './automerge-wire.ts';
import type { MixedValue } from './mixed-writes.ts';

interface MergePeer {
  open(room: string): string;
  /** Ms since 1970. */
  changedMs(room: string): number;
  state(room: string): [key: string, title: string][];
}

type WebSocketServer = {
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, done: (socket: unknown) => void): void;
  emit(event: 'connection', socket: unknown, request: IncomingMessage): void;
};

interface WebSocketPackage {
  readonly default: { Server: new (options: { noServer: true } | { server: Server }) => WebSocketServer };
}

interface YDoc {
  on(event: 'update', listener: () => void): void;
  getMap(name: string): { forEach(visit: (value: MixedValue, key: string) => void): void };
}

interface YWebSocket {
  setupWSConnection(socket: unknown, request: IncomingMessage): void;
  getYDoc(room: string): YDoc;
}

interface MergeableStore {
  addDidFinishTransactionListener(listener: () => void): void;
  getTable(name: string): Readonly<Record<string, MixedValue>>;
}

interface Persisters {
  createCustomPersister(
    store: MergeableStore,
    get: () => Promise<undefined>,
    set: () => Promise<void>,
    addListener: () => number,
    removeListener: () => void,
    onIgnoredError: (error: unknown) => void,
    persists: number,
  ): unknown;
}

interface AutomergeRepo {
  Repo: new (options: object) => { create(initial: object): DocHandle };
}

interface DocHandle {
  readonly documentId: string;
  on(event: 'change', listener: () => void): void;
  doc(): Readonly<Record<string, MixedValue>>;
}

const MERGEABLE_STORE_ONLY = 2;
/** As it starts, it closes all connections when it is busy for five seconds. */
const PATIENT_PING_MS = 120_000;
const STARTS: Readonly<Record<string, (http: Server) => Promise<MergePeer>>> = {
  'y-websocket': startYWebSocket,
  tinybase: startTinyBase,
  'automerge-repo': startAutomerge,
  gun: startGun,
};

/** When each room last changed. */
class Changes {
  readonly #lastMs = new Map<string, number>();

  note(room: string): void {
    this.#lastMs.set(room, performance.timeOrigin + performance.now());
  }

  of(room: string): number {
    return this.#lastMs.get(room) ?? 0;
  }
}

/** The title of a value that is whole; else the whole of it, which is no title. */
function titleOf({ title, count, done, owner }: MixedValue): string {
  const isWhole = count === 42 && done === false && String(owner) === 'u-1234';
  return isWhole ? String(title) : JSON.stringify({ title, count, done, owner });
}

async function startYWebSocket(http: Server): Promise<MergePeer> {
  const { setupWSConnection, getYDoc } = await importPeer<YWebSocket>('y-websocket/bin/utils');
  const { default: ws } = await importPeer<WebSocketPackage>('ws');
  const sockets = new ws.Server({ noServer: true });
  http.on('upgrade', (request, socket, head) =>
    sockets.handleUpgrade(request, socket, head, (opened) => setupWSConnection(opened, request)),
  );
  const changes = new Changes();
  return {
    open: (room) => {
      getYDoc(room).on('update', () => changes.note(room));
      return room;
    },
    changedMs: (room) => changes.of(room),
    state: (room) => {
      const titles: [string, string][] = [];
      getYDoc(room)
        .getMap('w2')
        .forEach((value, key) => {
          titles.push([key, titleOf(value)]);
        });
      return titles;
    },
  };
}

async function startTinyBase(http: Server): Promise<MergePeer> {
  const { createMergeableStore } = await importPeer<{ createMergeableStore(id: string): MergeableStore }>('tinybase');
  const { createCustomPersister } = await importPeer<Persisters>('tinybase/persisters');
  const { createWsServer } = await importPeer<{
    createWsServer(sockets: WebSocketServer, persisterOf: (room: string) => unknown, onError: (error: unknown) => void): void;
  }>('tinybase/synchronizers/synchronizer-ws-server');
  const { default: ws } = await importPeer<WebSocketPackage>('ws');
  const stores = new Map<string, MergeableStore>();
  const changes = new Changes();
  // Without a persister the server would only pass messages on. This one keeps nothing.
  const persisterOf = (room: string): unknown => {
    const store = stores.get(room);
    if (store === undefined) return undefined;
    const nothing = async (): Promise<undefined> => undefined;
    return createCustomPersister(
      store,
      nothing,
      nothing,
      () => 0,
      () => {},
      logError,
      MERGEABLE_STORE_ONLY,
    );
  };
  createWsServer(new ws.Server({ server: http }), persisterOf, logError);
  return {
    open: (room) => {
      const store = createMergeableStore('server');
      store.addDidFinishTransactionListener(() => changes.note(room));
      stores.set(room, store);
      return room;
    },
    changedMs: (room) => changes.of(room),
    state: (room) => Object.entries(stores.get(room)?.getTable('w2') ?? {}).map(([key, row]) => [key, titleOf(row)]),
  };
}

async function startAutomerge(http: Server): Promise<MergePeer> {
  const { Repo } = await importPeer<AutomergeRepo>('@automerge/automerge-repo');
  const { WebSocketServerAdapter } = await importPeer<{
    WebSocketServerAdapter: new (sockets: WebSocketServer, pingMs: number) => unknown;
  }>('@automerge/automerge-repo-network-websocket');
  const { default: ws } = await importPeer<WebSocketPackage>('ws');
  const repo = new Repo({
    network: [new WebSocketServerAdapter(new ws.Server({ server: http }), PATIENT_PING_MS)],
    peerId: AUTOMERGE_PEER_ID,
    sharePolicy: async () => false, // documents are not announced to whoever connects; who asks for one gets it
  });
  const handles = new Map<string, DocHandle>();
  const changes = new Changes();
  return {
    open: () => {
      const handle = repo.create({});
      handle.on('change', () => changes.note(handle.documentId));
      handles.set(handle.documentId, handle);
      return handle.documentId;
    },
    changedMs: (room) => changes.of(room),
    state: (room) => Object.entries(handles.get(room)?.doc() ?? {}).map(([key, value]) => [key, titleOf(value)]),
  };
}

async function startGun(http: Server): Promise<MergePeer> {
  const root = await startGunRelay(http);
  const changes = new Changes();
  root.on('put', function (message) {
    changes.note((message.put?.['#'] ?? '').split('/', 1)[0] ?? '');
    this.to.next(message);
  });
  return {
    open: (room) => room,
    changedMs: (room) => changes.of(room),
    state: (room) =>
      Object.entries(root.graph)
        .filter(([soul]) => soul.startsWith(`${room}/`))
        .map(([soul, node]) => [soul.slice(room.length + 1), titleOf(node as MixedValue)]), // as gun-wire.ts writes them
  };
}

function logError(error: unknown): void {
  process.stderr.write(`${String(error)}\n`);
}

/** What the benchmark asks over HTTP. */
function answer(peer: MergePeer, url: string): unknown {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  const room = searchParams.get('room') ?? '';
  if (pathname === '/open') return peer.open(room);
  if (pathname === '/changed') return peer.changedMs(room);
  if (pathname === '/state') return peer.state(room);
  return undefined;
}

process.once('SIGTERM', () => process.exit(0));
const name = process.argv[2] ?? '';
const start = STARTS[name];
if (start === undefined) throw new Error(`no peer is called ${name}`);
const http = createServer();
await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
const peer = await start(http);
http.on('request', (request, response) => {
  if (!response.headersSent) response.end(JSON.stringify(answer(peer, request.url ?? '') ?? null));
});
process.stdout.write(`PORT=${(http.address() as AddressInfo).port}\n`);
