/**
 * What Node's sockets cost by themselves, which the door for clients of Redis stands on: commands of one kind, all of one length, are
 * counted by their bytes, and each is answered with the same reply.
 */
import { createServer } from 'node:net';
import { commandText } from '../redis-peer.ts';
import { COMMAND_NAMES, PIPELINES, REPLIES, wordsOf } from './resp-commands.ts';

/** Of each kind: its first bytes, how long a command is, and one to many replies. */
const KINDS = COMMAND_NAMES.map((name) => {
  const command = Buffer.from(commandText(wordsOf(name, 0)));
  const replies = Array.from({ length: Math.max(...PIPELINES) + 1 }, (_, count) => Buffer.from(REPLIES[name].repeat(count)));
  return { name, head: command.subarray(0, command.indexOf(name) + name.length), commandBytes: command.length, replies };
});

const server = createServer({ noDelay: true }, (socket) => {
  let kind: (typeof KINDS)[number] | undefined;
  let unanswered = 0;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    kind ??= KINDS.find(({ head }) => chunk.subarray(0, head.length).equals(head));
    const replies = kind?.replies[Math.floor((unanswered + chunk.length) / kind.commandBytes)];
    if (kind === undefined || replies === undefined) return socket.destroy(); // not what is measured
    unanswered = (unanswered + chunk.length) % kind.commandBytes;
    socket.write(replies);
  });
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`PORT=${typeof address === 'object' && address !== null ? address.port : 0}\n`);
});
process.once('SIGTERM', () => process.exit(0));
