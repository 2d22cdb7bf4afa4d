/**
 * Runs the compiled tests: node scripts/test.mjs [part-of-a-path …]
 *
 * The files are listed one by one, because Node 20 and 22 read globs and folders differently. Two files run at a time: the
 * tests with sockets and Postgres would else steal the processor from one another. What the shell of the user holds for a
 * server (LATTICE_*, DATABASE_URL, JWT_SECRET, PORT) is taken away, so that no test meets a real database; LATTICE_TEST_* stays.
 *
 * The last lines name what failed. A file that failed beside another one is run once more with the machine to itself: a
 * second failure is a failure, and a test that passed only then is named too, for it has a wait that is too short.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FILES_AT_A_TIME = 2;
/** No file takes a tenth of it; it ends one that hangs. */
const FILE_TIMEOUT_MS = 300_000;
/** More files than this fail for a reason of their own. */
const AGAIN_MAX = 5;

const wanted = process.argv.slice(2);
const files = testsUnder('dist')
  .sort()
  .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)));

if (files.length === 0) {
  process.stderr.write(existsSync(join(ROOT, 'dist')) ? 'No test file matches.\n' : 'Nothing is built: run `npm run build`.\n');
  process.exit(1);
}

let runner;
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => runner?.kill(signal));

const first = await runFiles(files, FILES_AT_A_TIME);
const again = [...new Set(first.failures.map(({ file }) => compiledOf(file)))];
const second = again.length > 0 && again.length <= AGAIN_MAX && !first.killed ? await runFiles(again, 1) : first;
tell(first.failures, second === first ? 'failed' : 'failed beside other tests');
if (second !== first) tell(second.failures, 'failed again, alone');
process.exitCode = second.code;

/** Runs the files; resolves with the exit code and what failed. */
function runFiles(paths, filesAtATime) {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-tests-'));
  const list = join(folder, 'failed.jsonl');
  const reporters = [
    ['--test-reporter', process.stdout.isTTY ? 'spec' : 'tap', '--test-reporter-destination', 'stdout'],
    ['--test-reporter', join(ROOT, 'scripts/failed-tests.mjs'), '--test-reporter-destination', list],
  ].flat();
  const limits = [`--test-concurrency=${filesAtATime}`, `--test-timeout=${FILE_TIMEOUT_MS}`];
  runner = spawn(process.execPath, ['--enable-source-maps', '--test', ...limits, ...reporters, ...paths], {
    cwd: ROOT,
    stdio: 'inherit',
    env: testEnvironment(),
  });
  return new Promise((resolve) => {
    runner.on('exit', (code, signal) => {
      const lines = existsSync(list) ? readFileSync(list, 'utf8').split('\n').filter(Boolean) : [];
      rmSync(folder, { recursive: true, force: true });
      resolve({ code: code ?? 1, killed: signal !== null, failures: lines.map((line) => JSON.parse(line)) });
    });
  });
}

function tell(failures, how) {
  for (const { file, name, message } of failures) {
    process.stdout.write(`# ${how}: ${file}: ${name}: ${message.split('\n', 3).join(' ')}\n`);
  }
}

/** Source maps name the file that was written, not the one that runs. */
function compiledOf(file) {
  return file.endsWith('.ts') ? join('dist', file.replace(/\.ts$/, '.js')) : file;
}

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
