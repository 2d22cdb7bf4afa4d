/** A real redis-server beside ours, where one is installed: in memory only, on a free port, ended with the test. */
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { RespClient } from './resp-client.ts';

const START_MS = 5000;

export interface RedisServer {
  readonly port: number;
  stop(): void;
}

export function isRedisInstalled(): boolean {
  return spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0;
}

export async function startRedis(): Promise<RedisServer> {
  const port = await freePort();
  const words = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', tmpdir()];
  const child = spawn('redis-server', words, { stdio: 'ignore' });
  const endsMs = performance.now() + START_MS;
  for (;;) {
    try {
      const client = await RespClient.open(port);
      await client.command('PING');
      client.close();
      return { port, stop: () => child.kill('SIGKILL') };
    } catch (error) {
      if (performance.now() > endsMs) {
        child.kill('SIGKILL');
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port: 0, host: '127.0.0.1' }, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
