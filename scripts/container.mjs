/**
 * Builds the container's image, runs it, writes one record and reads it back, and stops it: npm run container
 *
 * It takes docker where its daemon answers, else buildah (which needs no daemon), else it says so and exits 3.
 * The image stays behind as lattice-grid; the container and its data do not.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const IMAGE = 'lattice-grid';
const NO_ENGINE_STATUS = 3;
const START_DEADLINE_MS = 120_000;
/** The last flush and the goodbye to clients have 40 s together. */
const STOP_DEADLINE_SECONDS = 60;

const env = { ...process.env, JWT_SECRET: randomBytes(32).toString('hex') };

if (succeeds('docker', ['info'])) await checkWith(withDocker);
else if (succeeds('buildah', ['--version'])) await checkWith(withBuildah);
else {
  process.stderr.write(
    'No container engine: neither a docker whose daemon answers nor buildah is here, so no image was built.\n' +
      'Install one (Debian: apt-get install buildah) and run this again.\n',
  );
  process.exit(NO_ENGINE_STATUS);
}

async function checkWith(engine) {
  const container = await engine();
  let status;
  try {
    await oneRecord(await container.port());
  } finally {
    status = await container.stop();
  }
  if (status !== 0) throw new Error(`the server ended with ${status} after SIGTERM`);
  process.stderr.write('The image builds, runs, keeps a record and stops.\n');
}

async function withDocker() {
  run('docker', ['build', '-t', IMAGE, '.']);
  const id = output('docker', ['run', '-d', '-e', 'JWT_SECRET', '-p', '127.0.0.1:0:8080', IMAGE]);
  return {
    async port() {
      await until(
        () => output('docker', ['logs', id]).includes('PORT='),
        () => output('docker', ['logs', id]),
      );
      return Number(output('docker', ['port', id, '8080/tcp']).split('\n')[0].split(':').at(-1));
    },
    async stop() {
      run('docker', ['stop', '-t', String(STOP_DEADLINE_SECONDS), id]);
      const status = Number(output('docker', ['inspect', '-f', '{{.State.ExitCode}}', id]));
      run('docker', ['rm', '-v', id]);
      return status;
    },
  };
}

/** With chroot isolation the container shares the network of the machine: the server takes any free port of loopback. */
async function withBuildah() {
  run('buildah', ['bud', '--isolation', 'chroot', '-t', IMAGE, '.']);
  const id = output('buildah', ['from', IMAGE]);
  const command = ['node', 'dist/gateway/cli.js', 'start', '--host', '127.0.0.1', '--port', '0'];
  const server = spawn(
    'buildah',
    ['run', '--isolation', 'chroot', '--env', `JWT_SECRET=${env.JWT_SECRET}`, id, '--', ...command],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let printed = '';
  server.stdout.setEncoding('utf8').on('data', (text) => {
    printed += text;
  });
  const ended = once(server, 'exit');
  return {
    async port() {
      await until(
        () => /PORT=\d+/.test(printed) || server.exitCode !== null,
        () => printed,
      );
      return Number(/PORT=(\d+)/.exec(printed)?.[1]);
    },
    async stop() {
      server.kill('SIGTERM');
      const [code] = await Promise.race([ended, sleep(STOP_DEADLINE_SECONDS * 1000, ['no end'], { ref: false })]);
      run('buildah', ['rm', id]);
      return code;
    },
  };
}

async function oneRecord(port) {
  const check = spawn(process.execPath, ['scripts/one-record.mjs', `ws://127.0.0.1:${port}/ws`], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
  });
  const [code] = await once(check, 'exit');
  if (code !== 0) throw new Error('the record did not come back');
}

async function until(isThere, explain) {
  const endMs = Date.now() + START_DEADLINE_MS;
  while (!isThere()) {
    if (Date.now() > endMs) throw new Error(`the server did not start within ${START_DEADLINE_MS} ms:\n${explain()}`);
    await sleep(200);
  }
}

function succeeds(command, args) {
  const tried = spawnSync(command, args, { stdio: 'ignore' });
  return tried.error === undefined && tried.status === 0;
}

function run(command, args) {
  const done = spawnSync(command, args, { cwd: ROOT, env, stdio: ['ignore', 2, 2] });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${done.status ?? done.error}`);
}

function output(command, args) {
  const done = spawnSync(command, args, { cwd: ROOT, env, encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${done.status ?? done.error}\n${done.stderr}`);
  return done.stdout.trim();
}
