/**
 * Compiles the sources to dist/.
 *
 *   node scripts/build.mjs              always
 *   node scripts/build.mjs --if-needed  only when a source changed since the last build
 *
 * The compiler writes into a folder of its own beside dist/, which takes dist's place in one rename when all of it is
 * there: a build that fails or is interrupted leaves the last good one in place, and two builds at once do not mix.
 * dist/.built holds a fingerprint of the sources (path, size and modification time of each), so that a deleted file
 * counts as a change too. Everything is printed on stderr: stdout belongs to the server that `npm start` runs next.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist');
const SOURCE_FOLDERS = ['engine', 'workers', 'gateway', 'bench', 'scripts', 'kernel'];
/** What is compiled to WebAssembly: source, where the module goes in dist/, and which memory it has. */
const KERNELS = [
  {
    source: 'kernel/batch-scan.ts',
    module: 'engine/protocol/batch-scan.wasm',
    memory: ['--initialMemory', '20', '--memoryBase', '2048'],
  },
  {
    source: 'kernel/record-merge.ts',
    module: 'engine/storage/record-merge.wasm',
    memory: ['--importMemory', '--initialMemory', '16'],
  },
];
const SETTINGS = ['tsconfig.json', 'package-lock.json'];
/** Has packages and a build of its own. */
const NOT_OURS = new Set(['bench/peers', 'node_modules']);

const sources = SOURCE_FOLDERS.flatMap(filesUnder);
const fingerprint = fingerprintOf([...SETTINGS, ...sources]);

if (process.argv.includes('--if-needed') && fingerprint === lastFingerprint()) process.exit(0);
process.exit(build());

/** Builds, and returns the exit status. */
function build() {
  const startedMs = Date.now();
  const fresh = join(ROOT, `.dist-${process.pid}`);
  try {
    const status = compile(fresh);
    if (status !== 0) return status;
    for (const kernel of KERNELS) {
      const kernelStatus = compileKernel(kernel, fresh);
      if (kernelStatus !== 0) return kernelStatus;
    }
    copyAssets(fresh);
    chmodSync(join(fresh, 'gateway', 'cli.js'), 0o755);
    writeFileSync(join(fresh, '.built'), fingerprint);
    replaceDist(fresh);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  process.stderr.write(`built dist/ in ${Date.now() - startedMs} ms\n`);
  return 0;
}

function compile(outDir) {
  const args = [compilerPath(), '-p', 'tsconfig.json', '--outDir', outDir, '--noEmitOnError', '--pretty', 'false'];
  const compiler = spawnSync(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 2, 2] });
  if (compiler.error) throw compiler.error;
  return compiler.status ?? 1;
}

/** AssemblyScript takes longer than all the rest, so a module whose source is as it was is taken over. */
function compileKernel({ source, module: path, memory }, outDir) {
  if (!existsSync(join(ROOT, source))) return 0; // a project of a test
  const module = join(outDir, path);
  const fingerprint = createHash('sha256')
    .update(readFileSync(join(ROOT, source)))
    .update(assemblyScriptVersion())
    .update(memory.join())
    .digest('hex');
  writeFileSync(`${module}.built`, fingerprint);
  const previous = join(DIST, path);
  if (existsSync(previous) && existsSync(`${previous}.built`) && readFileSync(`${previous}.built`, 'utf8') === fingerprint) {
    cpSync(previous, module);
    return 0;
  }
  const compiler = join(ROOT, 'node_modules/assemblyscript/bin/asc.js');
  const flags = ['-O3', '--runtime', 'stub', '--noAssert', '--enable', 'bulk-memory', ...memory];
  const run = spawnSync(process.execPath, [compiler, source, '-o', module, ...flags], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  if (run.error) throw run.error;
  return run.status ?? 1;
}

function assemblyScriptVersion() {
  return readFileSync(join(ROOT, 'node_modules/assemblyscript/package.json'), 'utf8').match(/"version": "([^"]+)"/)?.[1] ?? '';
}

function compilerPath() {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
  } catch {
    process.stderr.write('The TypeScript compiler is not installed: run `npm ci` first.\n');
    process.exit(1);
  }
}

/** What the compiled files read from beside themselves: fixtures and the like. */
function copyAssets(outDir) {
  for (const path of sources) {
    if (path.startsWith('scripts/') || path.startsWith('kernel/') || path.endsWith('.ts') || path.endsWith('.md')) continue;
    mkdirSync(dirname(join(outDir, path)), { recursive: true });
    cpSync(join(ROOT, path), join(outDir, path));
  }
}

function replaceDist(fresh) {
  const previous = `${fresh}-previous`;
  if (existsSync(DIST)) renameSync(DIST, previous);
  renameSync(fresh, DIST);
  rmSync(previous, { recursive: true, force: true });
}

function filesUnder(folder) {
  if (NOT_OURS.has(folder) || !existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesUnder(path);
      return entry.isFile() ? [path] : [];
    });
}

function fingerprintOf(paths) {
  const hash = createHash('sha256');
  for (const path of paths) {
    const { size, mtimeMs } = statSync(join(ROOT, path));
    hash.update(`${path}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

function lastFingerprint() {
  const path = join(DIST, '.built');
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
