/**
 * The ceiling: uWebSockets.js with nothing behind it. Takes the same frames and answers each with the same OP_ACK.
 *
 * No scan, no store, no other thread: what remains is the price of sockets. A product's rate divided by this one,
 * measured in the same session, is what the machine's noise cannot touch.
 */
import { App, us_socket_local_port } from 'uWebSockets.js';

/** `{type: 'OP_ACK', payload: {lastId: '0', achievedLevel: 'MEMORY'}}`, with a lastId as wide as a real one. */
const ACK = Buffer.from(
  'de0002a474797065a64f505f41434ba77061796c6f6164de0002a66c6173744964ac313030303030303030303030ad61636869657665644c6576656ca64d454d4f5259',
  'hex',
);
const MESSAGE_BYTES_MAX = 2 * 1024 * 1024;
const BACKPRESSURE_BYTES_MAX = 16 * 1024 * 1024;

const app = App();
app.ws('/*', {
  maxPayloadLength: MESSAGE_BYTES_MAX,
  maxBackpressure: BACKPRESSURE_BYTES_MAX,
  idleTimeout: 120,
  message: (socket) => {
    socket.send(ACK, true); // inside the callback uWS has corked already
  },
});
app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) throw new Error('the raw server found no port');
  process.stdout.write(`PORT=${us_socket_local_port(listening)}\n`);
});
process.once('SIGTERM', () => process.exit(0));
