/** The process of the ceiling of live queries: see raw-query-app.ts. */
import { us_socket_local_port } from 'uWebSockets.js';
import { rawQueryApp } from './raw-query-app.ts';

rawQueryApp().listen('127.0.0.1', 0, (listening) => {
  if (listening === false) throw new Error('the raw server found no port');
  process.stdout.write(`PORT=${us_socket_local_port(listening)}\n`);
});
process.once('SIGTERM', () => process.exit(0));
