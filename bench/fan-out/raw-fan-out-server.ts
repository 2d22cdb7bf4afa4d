/**
 * The ceiling of a fan-out: uWebSockets.js with nothing behind it. What comes at /writer goes out to everybody else as it is, by its
 * own publish, which drops nothing below the bound of a connection that reads slowly.
 */
import { App, us_socket_local_port } from 'uWebSockets.js';

const MESSAGE_BYTES_MAX = 2 * 1024 * 1024;
const BACKPRESSURE_BYTES_MAX = 16 * 1024 * 1024;
const limits = { maxPayloadLength: MESSAGE_BYTES_MAX, maxBackpressure: BACKPRESSURE_BYTES_MAX, idleTimeout: 120 };

const app = App();
app.ws('/writer', {
  ...limits,
  message: (_, message) => {
    app.publish('writes', message, true);
  },
});
app.ws('/*', {
  ...limits,
  open: (socket) => {
    socket.subscribe('writes');
  },
});
app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) throw new Error('the raw server found no port');
  process.stdout.write(`PORT=${us_socket_local_port(listening)}\n`);
});
process.once('SIGTERM', () => process.exit(0));
