import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { OPTIONS } from '../engine/config.ts';
import { resolveConfig } from '../engine/config-resolution.ts';
import { exampleToml } from '../engine/config-text.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { defaultDataDir, readConfigFile } from './config-file.ts';
import { packageFolder, packageVersion } from './package-folder.ts';

const machine = { dataDir: '/data', gatewayThreads: 1, workerThreads: () => 1 };

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-config-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function message(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof GridError);
    assert.equal(error.code, 'CONFIG_INVALID');
    return error.message;
  }
  return assert.fail('accepted');
}

test('lattice.toml is read where it is there, and is no must', (t) => {
  const folder = folderOf(t);
  assert.equal(readConfigFile(undefined, folder), undefined);
  writeFileSync(join(folder, 'lattice.toml'), '[server]\nport = 9\n');
  const file = readConfigFile(undefined, folder);
  assert.equal(resolveConfig({ flags: new Map(), env: {}, file, machine }).config.port, 9);
});

test('a file that is named must be there', (t) => {
  assert.match(
    message(() => readConfigFile('other.toml', folderOf(t))),
    /^other\.toml cannot be read/,
  );
});

test('what is not TOML is refused with its place, and without what it says', (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, 'lattice.toml'), '[security]\njwtSecret = hunter2\n');
  const told = message(() => readConfigFile(undefined, folder));
  assert.match(told, /^lattice\.toml, line 2, column \d+: /);
  assert.ok(!told.includes('hunter2'));
});

test('the shipped example is the generated one, loads, and sets nothing', () => {
  const folder = packageFolder();
  assert.equal(readFileSync(join(folder, 'lattice.example.toml'), 'utf8'), exampleToml());
  const file = readConfigFile('lattice.example.toml', folder);
  const fromExample = resolveConfig({ flags: new Map(), env: {}, file, machine });
  assert.deepEqual(fromExample.config, resolveConfig({ flags: new Map(), env: {}, machine }).config);
});

test('every line of the example that shows a default loads when its # is taken away', (t) => {
  const folder = folderOf(t);
  const setting = /^# (\w+ = (?!"…").*)$/gm;
  const example = exampleToml();
  const shown = [...example.matchAll(setting)];
  const without = OPTIONS.filter(({ default: value }) => value === undefined || value === '').length;
  assert.equal(shown.length, OPTIONS.length - without);
  writeFileSync(join(folder, 'lattice.toml'), example.replaceAll(setting, '$1'));
  const file = readConfigFile(undefined, folder);
  const resolved = resolveConfig({ flags: new Map(), env: {}, file, machine });
  assert.deepEqual(resolved.config, resolveConfig({ flags: new Map(), env: {}, machine }).config);
});

test("data goes to the user's data home, and to /var/lib for root", () => {
  assert.equal(defaultDataDir({ uid: 0, home: '/root', xdgDataHome: '/x' }), '/var/lib/lattice');
  assert.equal(defaultDataDir({ uid: 5, home: '/home/u', xdgDataHome: undefined }), '/home/u/.local/share/lattice');
  assert.equal(defaultDataDir({ uid: 5, home: '/home/u', xdgDataHome: '/x' }), '/x/lattice');
  assert.equal(defaultDataDir({ uid: 5, home: '/home/u', xdgDataHome: 'relative' }), '/home/u/.local/share/lattice');
  assert.equal(defaultDataDir({ uid: 5, home: '/home/u', xdgDataHome: '' }), '/home/u/.local/share/lattice');
});

test('the version is the one of package.json', () => {
  assert.match(packageVersion(), /^\d+\.\d+\.\d+/);
});
