/**
 * The ceiling of live queries: uWebSockets.js with nothing behind it. The writer says which bytes go to which connection
 * (raw-query-frames.ts), and gets the same few bytes back.
 */
import { App, us_socket_local_port } from 'uWebSockets.js';
import { forEachPassed } from './raw-query-frames.ts';

const MESSAGE_BYTES_MAX = 2 * 1024 * 1024;
const BACKPRESSURE_BYTES_MAX = 64 * 1024 * 1024;
const ACK = Buffer.from('ack');
const limits = { maxPayloadLength: MESSAGE_BYTES_MAX, maxBackpressure: BACKPRESSURE_BYTES_MAX, idleTimeout: 120 };

const app = App();
app.ws('/writer', {
  ...limits,
  message: (socket, message) => {
    forEachPassed(new Uint8Array(message), (connection, bytes) => {
      app.publish(connection === undefined ? 'all' : `viewer ${connection}`, bytes, true);
    });
    socket.send(ACK, true);
  },
});
app.ws<{ connection: string }>('/viewer/:connection', {
  ...limits,
  upgrade: (response, request, context) => {
    response.upgrade(
      { connection: request.getParameter(0) ?? '' },
      request.getHeader('sec-websocket-key'),
      request.getHeader('sec-websocket-protocol'),
      request.getHeader('sec-websocket-extensions'),
      context,
    );
  },
  open: (socket) => {
    socket.subscribe('all');
    socket.subscribe(`viewer ${socket.getUserData().connection}`);
  },
});
app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) throw new Error('the raw server found no port');
  process.stdout.write(`PORT=${us_socket_local_port(listening)}\n`);
});
process.once('SIGTERM', () => process.exit(0));
