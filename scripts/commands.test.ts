/** The commands of package.json, run in small projects of their own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { packageFolder } from '../workers/package-folder.ts';

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A project with our scripts, our tsconfig and packages, and two small sources. */
function project(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-commands-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const path of [
    'scripts/build.mjs',
    'scripts/test.mjs',
    'scripts/failed-tests.mjs',
    'tsconfig.json',
    'package.json',
    'package-lock.json',
  ]) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    copyFileSync(join(packageFolder(), path), join(folder, path));
  }
  symlinkSync(join(packageFolder(), 'node_modules'), join(folder, 'node_modules'));
  write(folder, 'gateway/cli.ts', '#!/usr/bin/env node\nexport const port: number = 1;\n');
  write(folder, 'engine/fixtures/golden.json', '{}\n');
  write(folder, 'engine/one.test.ts', "import { test } from 'node:test';\ntest('one', () => {});\n");
  return folder;
}

function write(folder: string, path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

function script(folder: string, name: string, words: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Ran {
  const inherited = { ...process.env, ...env };
  delete inherited.NODE_TEST_CONTEXT; // or the inner test runner would report to ours
  return spawnSync(process.execPath, [join(folder, 'scripts', name), ...words], {
    cwd: folder,
    encoding: 'utf8',
    env: inherited,
  });
}

test('the build makes dist, with assets and a command that can be run, and writes nothing to stdout', (t) => {
  const folder = project(t);
  const built = script(folder, 'build.mjs');
  assert.equal(built.status, 0, built.stderr);
  assert.equal(built.stdout, '');
  assert.ok(existsSync(join(folder, 'dist/engine/fixtures/golden.json')));
  assert.equal(statSync(join(folder, 'dist/gateway/cli.js')).mode & 0o111, 0o111);
  assert.ok(!readdirSync(folder).some((name) => name.startsWith('.dist-')));
});

test('--if-needed builds again after a change, a new file or a deleted one, and only then', (t) => {
  const folder = project(t);
  const buildsNow = (): boolean => {
    const ran = script(folder, 'build.mjs', ['--if-needed']);
    assert.equal(ran.status, 0, ran.stderr);
    return ran.stderr.includes('built dist/');
  };
  assert.ok(buildsNow());
  assert.ok(!buildsNow());
  write(folder, 'gateway/cli.ts', 'export const port: number = 2345;\n');
  assert.ok(buildsNow());
  write(folder, 'engine/two.ts', 'export const two = 2;\n');
  assert.ok(buildsNow());
  rmSync(join(folder, 'engine/two.ts'));
  assert.ok(buildsNow());
  assert.ok(!existsSync(join(folder, 'dist/engine/two.js')));
  assert.ok(!buildsNow());
});

test('a build that fails leaves the last good one, and is tried again', (t) => {
  const folder = project(t);
  assert.equal(script(folder, 'build.mjs').status, 0);
  write(folder, 'gateway/cli.ts', "export const port: number = 'text';\n");
  for (const words of [[], ['--if-needed']]) {
    const failed = script(folder, 'build.mjs', words);
    assert.notEqual(failed.status, 0);
    assert.match(failed.stderr, /gateway\/cli\.ts/);
    assert.equal(failed.stdout, '');
  }
  assert.ok(existsSync(join(folder, 'dist/gateway/cli.js')));
  assert.ok(!readdirSync(folder).some((name) => name.startsWith('.dist-')));
});

test('the test command runs what is compiled, shows the closing lines, and fails with a test', (t) => {
  const folder = project(t);
  assert.match(script(folder, 'test.mjs').stderr, /Nothing is built/);
  write(folder, 'dist/engine/one.test.js', "import { test } from 'node:test';\ntest('one', () => {});\n");
  const passed = script(folder, 'test.mjs');
  assert.equal(passed.status, 0, passed.stdout);
  assert.match(passed.stdout, /tests 1\n[\s\S]*pass 1\n/);
  write(folder, 'dist/engine/two.test.js', "import { test } from 'node:test';\ntest('two', () => { throw new Error('no'); });\n");
  assert.equal(script(folder, 'test.mjs').status, 1);
  assert.equal(script(folder, 'test.mjs', ['one']).status, 0);
  assert.equal(script(folder, 'test.mjs', ['none']).status, 1);
});

test('a file that failed beside others runs once more alone: what fails again is a failure, and both are named last', (t) => {
  const folder = project(t);
  const imports = "import { test } from 'node:test';\nimport { existsSync, writeFileSync } from 'node:fs';\n";
  const fragile =
    "test('fragile', () => { if (!existsSync('ran')) { writeFileSync('ran', ''); throw new Error('starved'); } });\n";
  write(folder, 'dist/fragile.test.js', imports + fragile);
  const passed = script(folder, 'test.mjs');
  assert.equal(passed.status, 0, passed.stdout);
  assert.match(passed.stdout, /# failed beside other tests: dist\/fragile\.test\.js: fragile: starved\n$/);
  write(folder, 'dist/broken.test.js', `${imports}test('broken', () => { throw new Error('no'); });\n`);
  const failed = script(folder, 'test.mjs');
  assert.equal(failed.status, 1);
  assert.match(failed.stdout, /# failed beside other tests: .*broken: no\n# failed again, alone: .*broken: no\n$/);
});

test('tests do not see the settings of a server in the environment', (t) => {
  const folder = project(t);
  const seen = `import { test } from 'node:test';
import assert from 'node:assert';
test('clean', () => {
  for (const name of ['LATTICE_PORT', 'DATABASE_URL', 'JWT_SECRET', 'PORT']) assert.equal(process.env[name], undefined);
  assert.equal(process.env.LATTICE_TEST_SEED, '7');
});
`;
  write(folder, 'dist/clean.test.js', seen);
  const env = { LATTICE_PORT: '1', DATABASE_URL: 'postgres://x', JWT_SECRET: 'x', PORT: '1', LATTICE_TEST_SEED: '7' };
  const ran = script(folder, 'test.mjs', [], env);
  assert.equal(ran.status, 0, ran.stdout);
});

test('without a container engine the container command says so and exits 3', () => {
  const ran = script(packageFolder(), 'container.mjs', [], { PATH: '/nonexistent' });
  assert.equal(ran.status, 3);
  assert.match(ran.stderr, /neither a docker .* nor buildah/);
});
