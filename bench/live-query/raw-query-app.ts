/**
 * The ceiling of live queries: uWebSockets.js with nothing behind it. The writer says which bytes go to which connection
 * (raw-query-frames.ts), and gets the same few bytes back.
 */
import { App, type TemplatedApp } from 'uWebSockets.js';
import { forEachPassed } from './raw-query-frames.ts';

const MESSAGE_BYTES_MAX = 2 * 1024 * 1024;
const BACKPRESSURE_BYTES_MAX = 64 * 1024 * 1024;
const ACK = Buffer.from('ack');
const limits = { maxPayloadLength: MESSAGE_BYTES_MAX, maxBackpressure: BACKPRESSURE_BYTES_MAX, idleTimeout: 120 };

/** @param copiesOf how often a message to one viewer is sent: once, save for tests that lose or repeat some. */
export function rawQueryApp(copiesOf: (message: Uint8Array) => number = () => 1): TemplatedApp {
  const app = App();
  app.ws('/writer', {
    ...limits,
    message: (socket, message) => {
      forEachPassed(new Uint8Array(message), (connection, bytes) => {
        const topic = connection === undefined ? 'all' : `viewer ${connection}`;
        const copies = connection === undefined ? 1 : copiesOf(bytes);
        for (let copy = 0; copy < copies; copy++) app.publish(topic, bytes, true);
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
  return app;
}
