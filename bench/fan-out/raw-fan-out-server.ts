/**
 * The ceilings of a fan-out: uWebSockets.js with nothing behind it. What comes goes out to everybody else as it is, by its own
 * publish, which drops nothing below the bound of a connection that reads slowly.
 *
 *   /writer          a frame for each write
 *   /joining-writer  a frame for the writes of a turn of the event loop, as Lattice joins events
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
let joined: Uint8Array[] = [];
app.ws('/joining-writer', {
  ...limits,
  message: (_, message) => {
    if (joined.length === 0) setImmediate(publishJoined);
    joined.push(new Uint8Array(message).slice()); // valid during the call only
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

function publishJoined(): void {
  const [first] = joined;
  if (first !== undefined) app.publish('writes', joined.length === 1 ? first : Buffer.concat(joined), true);
  joined = [];
}

process.once('SIGTERM', () => process.exit(0));
