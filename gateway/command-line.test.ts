import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { GridError } from '../engine/protocol/errors.ts';
import { parseCommandLine } from './command-line.ts';

test('a flag takes the next word or what stands behind its =', () => {
  const line = parseCommandLine(['start', '--port', '1', '--host=::1', '--jwt-issuer=a=b', '--port', '2']);
  assert.equal(line.command, 'start');
  assert.deepEqual(Object.fromEntries(line.flags), { '--port': '2', '--host': '::1', '--jwt-issuer': 'a=b' });
});

test('a negative number is a value, and a flag is none', () => {
  assert.equal(parseCommandLine(['start', '--port', '-1']).flags.get('--port'), '-1');
  assert.throws(() => parseCommandLine(['start', '--port', '--host']), /the flag --port needs a value/);
  assert.throws(() => parseCommandLine(['start', '--port']), /the flag --port needs a value/);
});

test('help comes without a command and wins over everything', () => {
  for (const words of [[], ['--help'], ['-h'], ['help'], ['start', '--port', '--help']]) {
    assert.equal(parseCommandLine(words).command, 'help');
  }
  assert.equal(parseCommandLine(['--version']).command, 'version');
});

test('an unknown command or a stray word is refused', () => {
  assert.throws(() => parseCommandLine(['strat']), /"strat" is no command; the nearest is start/);
  assert.throws(() => parseCommandLine(['start', '8080']), GridError);
});

test('the switches of config are no flags of start', () => {
  assert.deepEqual([...parseCommandLine(['config', '--json']).switches], ['--json']);
  assert.throws(() => parseCommandLine(['start', '--json']), /--json needs a value/);
});

test('behind wal stands what to do, and its switches are its own', () => {
  assert.equal(parseCommandLine(['wal', 'inspect', '--json']).command, 'wal inspect');
  const repair = parseCommandLine(['wal', 'repair', '--accept-loss', '--data-dir', '/x']);
  assert.equal(repair.command, 'wal repair');
  assert.deepEqual([...repair.switches], ['--accept-loss']);
  assert.deepEqual(Object.fromEntries(repair.flags), { '--data-dir': '/x' });
  for (const words of [['wal'], ['wal', '--json'], ['wal', 'mend']]) {
    assert.throws(() => parseCommandLine(words), /behind "wal" stands what to do: inspect or repair/);
  }
  assert.throws(() => parseCommandLine(['wal', 'repair', '--json']), /--json needs a value/);
});

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command itself in an empty folder with nothing but `env` in its environment. */
function lattice(t: TestContext, words: readonly string[], env: Record<string, string> = {}): Ran {
  const cwd = mkdtempSync(join(tmpdir(), 'lattice-cli-'));
  t.after(() => rmSync(cwd, { recursive: true, force: true }));
  const here = import.meta.url;
  const cli = fileURLToPath(new URL(here.endsWith('.ts') ? './cli.ts' : './cli.js', here));
  const loader = here.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : [];
  return spawnSync(process.execPath, [...loader, cli, ...words], { cwd, encoding: 'utf8', env: { HOME: cwd, ...env } });
}

test('lattice config shows values and origins and no secret', (t) => {
  const secret = 'a secret of more than thirty-two bytes, for tests';
  const ran = lattice(t, ['config', '--json', '--port', '0'], { JWT_SECRET: secret, LATTICE_HOST: '0.0.0.0' });
  assert.equal(ran.stderr, '');
  assert.equal(ran.status, 0);
  assert.ok(!ran.stdout.includes(secret));
  const shown: unknown = JSON.parse(ran.stdout);
  assert.ok(typeof shown === 'object' && shown !== null && 'port' in shown && 'jwtSecret' in shown && 'host' in shown);
  assert.deepEqual(shown.port, { value: 0, origin: 'flag --port' });
  assert.deepEqual(shown.jwtSecret, { value: '(set)', origin: 'environment JWT_SECRET' });
  assert.deepEqual(shown.host, { value: '0.0.0.0', origin: 'environment LATTICE_HOST' });
});

test('a wrong configuration ends start with status 2, a line for each mistake, and nothing on stdout', (t) => {
  const ran = lattice(t, ['start', '--prot', '1'], { PORT: 'many', LATTICE_WORKERS: '2' });
  assert.equal(ran.status, 2);
  assert.equal(ran.stdout, '');
  const lines = ran.stderr.trim().split('\n');
  assert.equal(lines.length, 3);
  for (const line of lines) assert.match(line, /^lattice: (PORT: "many"|the flag --prot|the variable LATTICE_WORKERS)/);
});

test('a host that others can reach without a secret ends start with status 2', (t) => {
  const ran = lattice(t, ['start', '--host', '0.0.0.0', '--port', '0']);
  assert.equal(ran.status, 2);
  assert.match(ran.stderr, /set JWT_SECRET/);
});

test('a file that is named and missing ends with status 2', (t) => {
  assert.equal(lattice(t, ['config', '--config', 'absent.toml']).status, 2);
  assert.equal(lattice(t, ['config'], { LATTICE_CONFIG: 'absent.toml' }).status, 2);
});

test('help and version go to stdout', (t) => {
  assert.match(lattice(t, ['--help']).stdout, /--flush-delay-ms \(LATTICE_FLUSH_DELAY_MS\)/);
  assert.match(lattice(t, ['version']).stdout, /^\d+\.\d+\.\d+\n$/);
});
