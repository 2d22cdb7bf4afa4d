/** `npm start` as people run it: the signal goes to npm, and the server behind it stops in order. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'node:test';
import { packageFolder } from '../workers/package-folder.ts';
import { testFolder } from '../workers/postgres/test-postgres.ts';

test('a signal to npm stops the server behind it, with status 0 and the port free again', async () => {
  const npm = spawn('npm', ['start', '--silent', '--', '--port', '0'], {
    cwd: packageFolder(),
    env: { ...process.env, LATTICE_DATA_DIR: await testFolder() },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let stdout = '';
  const started = new Promise<number>((resolve, reject) => {
    npm.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('utf8');
      const port = /^PORT=(\d+)\n/.exec(stdout)?.[1];
      if (port !== undefined) resolve(Number(port));
    });
    npm.once('exit', (code, signal) => reject(new Error(`npm ended with ${code ?? signal} before the server was ready`)));
  });
  const port = await started;
  npm.kill('SIGTERM');
  const [code, signal] = await once(npm, 'exit');
  assert.deepEqual({ code, signal }, { code: 0, signal: null });
  assert.equal(stdout, `PORT=${port}\n`);
  const [error] = await once(connect(port, '127.0.0.1'), 'error');
  assert.equal(error.code, 'ECONNREFUSED');
});
