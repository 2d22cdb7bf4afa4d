/**
 * A peer as its documentation starts it, with nothing on disk: node peer-server.js <name>. The packages are in bench/peers.
 *
 *   socket.io     one room; what a member sends goes to the others     y-websocket, hocuspocus   a Y.Doc per path or name
 *   gun           a relay without storage
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { startGunRelay } from '../gun-relay.ts';
import { importPeer } from '../peer-packages.ts';

interface SocketIo {
  Server: new (http: Server, options: object) => { on(event: 'connection', listener: (socket: SocketIoSocket) => void): void };
}

interface SocketIoSocket {
  join(room: string): void;
  to(room: string): { emit(event: string, value: unknown): void };
  on(event: string, listener: (value: unknown) => void): void;
}

interface YWebSocket {
  setupWSConnection(socket: unknown, request: IncomingMessage): void;
}

interface WebSocketPackage {
  readonly default: {
    Server: new (options: {
      noServer: true;
    }) => {
      handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, done: (socket: unknown) => void): void;
    };
  };
}

interface Hocuspocus {
  Server: new (options: object) => { listen(): Promise<unknown>; readonly httpServer: Server };
}

type Start = (http: Server) => Promise<Server>;

const STARTS: Readonly<Record<string, Start>> = {
  'socket.io': async (http) => {
    const { Server: Io } = await importPeer<SocketIo>('socket.io');
    new Io(http, { transports: ['websocket'], serveClient: false }).on('connection', (socket) => {
      socket.join('room');
      socket.on('write', (value) => socket.to('room').emit('write', value));
    });
    return listening(http);
  },
  'y-websocket': async (http) => {
    const { setupWSConnection } = await importPeer<YWebSocket>('y-websocket/bin/utils');
    const { default: ws } = await importPeer<WebSocketPackage>('ws');
    const sockets = new ws.Server({ noServer: true });
    http.on('upgrade', (request, socket, head) =>
      sockets.handleUpgrade(request, socket, head, (opened) => setupWSConnection(opened, request)),
    );
    return listening(http);
  },
  hocuspocus: async () => {
    const { Server: Hocus } = await importPeer<Hocuspocus>('@hocuspocus/server');
    const server = new Hocus({ port: 0, address: '127.0.0.1', quiet: true, stopOnSignals: false });
    await server.listen();
    return server.httpServer;
  },
  gun: async (http) => {
    await listening(http);
    await startGunRelay(http);
    return http;
  },
};

async function listening(http: Server): Promise<Server> {
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return http;
}

process.once('SIGTERM', () => process.exit(0));
const name = process.argv[2] ?? '';
const start = STARTS[name];
if (start === undefined) throw new Error(`no peer is called ${name}`);
const http = await start(createServer());
process.stdout.write(`PORT=${(http.address() as AddressInfo).port}\n`);
