import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { importPeer, installPeers, peersFolder } from './peer-packages.ts';

function emptyFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-bench-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('the lock of the peers names all that its packages may need, or `npm ci` would refuse it', () => {
  const { packages } = JSON.parse(readFileSync(join(peersFolder(), 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dependencies?: Record<string, string>; optionalDependencies?: Record<string, string> }>;
  };
  const paths = Object.keys(packages);
  const missing = Object.values(packages)
    .flatMap(({ dependencies, optionalDependencies }) => Object.keys({ ...dependencies, ...optionalDependencies }))
    .filter((name) => !paths.some((path) => path.endsWith(`node_modules/${name}`)));
  assert.deepEqual(missing, []);
});

test('peers are installed when they are missing or of another version than the lock says, and else left alone', (t) => {
  const folder = emptyFolder(t);
  const lock = (version: string) =>
    JSON.stringify({ packages: { '': { dependencies: { peer: '1.0.0' } }, 'node_modules/peer': { version } } });
  assert.match(String(installPeers(folder, ['true'])), /has no lock/);
  writeFileSync(join(folder, 'package-lock.json'), lock('1.0.0'));
  const mark = ['node', '-e', "require('node:fs').writeFileSync('installed', '')"];
  const installs = () => {
    rmSync(join(folder, 'installed'), { force: true });
    assert.equal(installPeers(folder, mark), undefined);
    return existsSync(join(folder, 'installed'));
  };
  assert.equal(installs(), true, 'nothing is there');
  mkdirSync(join(folder, 'node_modules'));
  writeFileSync(join(folder, 'node_modules', '.package-lock.json'), lock('0.9.0'));
  assert.equal(installs(), true, 'an older one is there');
  writeFileSync(join(folder, 'node_modules', '.package-lock.json'), lock('1.0.0'));
  assert.equal(installs(), false, 'it is there');
});

test('peers that can not be installed are a reason, not an error', (t) => {
  const folder = emptyFolder(t);
  writeFileSync(join(folder, 'package-lock.json'), '{}');
  assert.match(String(installPeers(folder, ['node', '-e', 'process.exit(3)'])), /ended with 3/);
  assert.match(String(installPeers(folder, ['no-such-program-of-lattice'])), /ENOENT/);
});

test('what a peer prints while it loads is dropped, and what the benchmark prints afterwards is not', async (t) => {
  const folder = emptyFolder(t);
  const peer = join(folder, 'node_modules', 'peer');
  mkdirSync(peer, { recursive: true });
  writeFileSync(join(peer, 'package.json'), '{"type": "module", "exports": "./index.js"}');
  writeFileSync(join(peer, 'index.js'), "export const log = console.log; console.log('hello'); export const answer = 42;");
  const printed = console.log;
  const { answer, log } = await importPeer<{ answer: number; log: unknown }>('peer', folder);
  assert.equal(answer, 42);
  assert.notEqual(log, printed);
  assert.equal(console.log, printed);
  await assert.rejects(importPeer('no-such-peer', folder));
  assert.equal(console.log, printed);
});
