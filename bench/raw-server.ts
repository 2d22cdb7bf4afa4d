/**
 * The ceiling: uWebSockets.js with nothing behind it. Takes the same frames and answers each with the same bytes, by the path that
 * the connection was opened with (raw-answers.ts).
 *
 * No scan, no store, no other thread: what remains is the price of sockets. A product's rate divided by this one,
 * measured in the same session, is what the machine's noise cannot touch.
 */
import { App, us_socket_local_port } from 'uWebSockets.js';
import { ACK, RAW_ANSWERS } from './raw-answers.ts';

const MESSAGE_BYTES_MAX = 2 * 1024 * 1024;
const BACKPRESSURE_BYTES_MAX = 16 * 1024 * 1024;

const app = App();
for (const [path, answer] of [...RAW_ANSWERS, ['/*', ACK] as const]) {
  app.ws(path, {
    maxPayloadLength: MESSAGE_BYTES_MAX,
    maxBackpressure: BACKPRESSURE_BYTES_MAX,
    idleTimeout: 120,
    message: (socket) => {
      socket.send(answer, true); // inside the callback uWS has corked already
    },
  });
}
app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) throw new Error('the raw server found no port');
  process.stdout.write(`PORT=${us_socket_local_port(listening)}\n`);
});
process.once('SIGTERM', () => process.exit(0));
