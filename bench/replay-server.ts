/**
 * The ceiling of a walk: uWebSockets.js with nothing behind it, which answers the nth question of a connection with the nth
 * frame of a file, whatever was asked.
 *
 *   file   u32 bytes, then the frame, little-endian, one after the other
 *   /probe the path of another client, whose every frame is answered with the same few bytes
 */
import { readFileSync } from 'node:fs';
import { App, us_socket_local_port } from 'uWebSockets.js';

const BACKPRESSURE_BYTES_MAX = 256 * 1024 * 1024;

const ACK = Buffer.from('ack');

const bytes = readFileSync(process.env.LATTICE_BENCH_REPLAY ?? '');
const frames: Uint8Array[] = [];
for (let at = 0; at < bytes.length; ) {
  const length = bytes.readUInt32LE(at);
  frames.push(bytes.subarray(at + 4, at + 4 + length));
  at += 4 + length;
}

const app = App();
app.ws('/probe', {
  message: (socket) => {
    socket.send(ACK, true);
  },
});
app.ws<{ next: number }>('/*', {
  maxBackpressure: BACKPRESSURE_BYTES_MAX,
  idleTimeout: 120,
  open: (socket) => {
    socket.getUserData().next = 0;
  },
  message: (socket) => {
    const data = socket.getUserData();
    const frame = frames[data.next];
    data.next += 1;
    if (frame !== undefined) socket.send(frame, true);
  },
});
app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) throw new Error('the replay server found no port');
  process.stdout.write(`PORT=${us_socket_local_port(listening)}\n`);
});
process.once('SIGTERM', () => process.exit(0));
