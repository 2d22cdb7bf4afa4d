/**
 * Runs the compiled tests: node scripts/test.mjs [part-of-a-path …]
 *
 * The files are listed one by one, because Node 20 and 22 read globs and folders differently. Two files run at a time: the
 * tests with sockets and Postgres would else steal the processor from one another. What the shell of the user holds for a
 * server (LATTICE_*, DATABASE_URL, JWT_SECRET, PORT) is taken away, so that no test meets a real database; LATTICE_TEST_* stays.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FILES_AT_A_TIME = 2;
/** No file takes a tenth of it; it ends one that hangs. */
const FILE_TIMEOUT_MS = 300_000;

const wanted = process.argv.slice(2);
const files = testsUnder('dist')
  .sort()
  .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)));

if (files.length === 0) {
  process.stderr.write(existsSync(join(ROOT, 'dist')) ? 'No test file matches.\n' : 'Nothing is built: run `npm run build`.\n');
  process.exit(1);
}

const runner = spawn(
  process.execPath,
  ['--enable-source-maps', '--test', `--test-concurrency=${FILES_AT_A_TIME}`, `--test-timeout=${FILE_TIMEOUT_MS}`, ...files],
  { cwd: ROOT, stdio: 'inherit', env: testEnvironment() },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => runner.kill(signal));
runner.on('exit', (code) => {
  process.exitCode = code ?? 1;
});

function testsUnder(folder) {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return testsUnder(path);
    return entry.name.endsWith('.test.js') ? [path] : [];
  });
}

function testEnvironment() {
  const isOurs = (name) => /^LATTICE_(?!TEST_)/.test(name) || ['DATABASE_URL', 'JWT_SECRET', 'PORT'].includes(name);
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isOurs(name)));
}
