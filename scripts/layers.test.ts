/**
 * Proves that the linter refuses what the layers forbid. The rules are biome.json itself, copied beside small files in an
 * empty folder; one run of the linter judges all of them, and each must be refused, or not, as its line says.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { packageFolder } from '../workers/package-folder.ts';

type Case = readonly [verdict: 'refused' | 'allowed', folder: string, code: string];

const CASES: readonly Case[] = [
  ['refused', 'engine', "import { x } from '../workers/ring.ts'; x();"],
  ['refused', 'engine/crdt', "import { x } from '../../gateway/main.ts'; x();"],
  ['refused', 'engine/crdt', "import { x } from 'node:fs'; x();"],
  ['refused', 'engine/crdt', "import { x } from 'node:worker_threads'; x();"],
  ['refused', 'engine/crdt', "import { x } from 'piscina'; x();"],
  ['refused', 'engine/crdt', "import { x } from 'postgres'; x();"],
  ['refused', 'engine/crdt', "import { x } from 'node:net'; x();"],
  ['refused', 'engine/crdt', "import { x } from 'pino'; x();"],
  ['refused', 'engine/crdt', "import { x } from 'uWebSockets.js'; x();"],
  ['refused', 'engine/crdt', 'export const now = Date.now();'],
  ['refused', 'engine/crdt', 'setTimeout(() => undefined, 1);'],
  ['refused', 'engine/partition', "import { x } from '../crdt/hlc.ts'; x();"],
  ['refused', 'engine/partition', "import { x } from '../protocol/errors.ts'; x();"],
  ['refused', 'engine/protocol', "import { x } from '../crdt/hlc.ts'; x();"],
  ['refused', 'engine/crdt', "import { x } from '../storage/record.ts'; x();"],
  ['refused', 'engine/storage', "import { x } from '../operation/operation.ts'; x();"],
  ['refused', 'engine/storage', "import { x } from '../domains/crdt/crdt-service.ts'; x();"],
  ['refused', 'engine/storage', "import { x } from 'msgpackr'; x();"],
  ['refused', 'engine/operation', "import { x } from '../domains/crdt/crdt-service.ts'; x();"],
  ['refused', 'workers', "import { x } from '../gateway/main.ts'; x();"],
  ['refused', 'workers/postgres', "import { x } from '../../gateway/main.ts'; x();"],
  ['refused', 'workers', "import { x } from 'uWebSockets.js'; x();"],
  ['refused', 'workers', "import { x } from 'node:net'; x();"],
  ['refused', 'workers', "import { x } from 'msgpackr'; x();"],
  ['refused', 'gateway', "import { x } from 'piscina'; x();"],
  ['refused', 'gateway', "import { x } from 'postgres'; x();"],
  ['refused', 'gateway', "export { x } from 'postgres';"],
  ['refused', 'gateway', "const { x } = await import('node:fs'); x();"],
  ['refused', 'gateway', "import { x } from 'node:worker_threads'; x();"],
  ['refused', 'gateway', "import { x } from 'msgpackr'; x();"],
  ['refused', 'gateway', "import { x } from '../bench/harness.ts'; x();"],
  ['refused', 'gateway', 'async function f(): Promise<void> {}\nf();'],
  ['refused', 'gateway', 'export const x: any = 1;'],
  ['refused', 'gateway', 'const list: number[] = [];\nexport const first = list[0]!;'],
  ['allowed', 'engine/partition', "import { x } from '../assert.ts'; x();"],
  ['allowed', 'engine/protocol', "import { x } from 'msgpackr'; x();"],
  ['allowed', 'engine/storage', "import { x } from '../protocol/errors.ts'; x();"],
  ['allowed', 'engine/domains/crdt', "import { x } from '../../storage/record.ts'; x();"],
  ['allowed', 'workers', "import { x } from 'node:fs'; x();"],
  ['allowed', 'workers/postgres', "import { x } from 'postgres'; x();"],
  ['allowed', 'gateway', "import { x } from '../workers/ring.ts'; x();"],
  ['allowed', 'gateway', "import { x } from 'node:net'; x();"],
];

test('the linter refuses every import that the layers forbid, and no other', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-layers-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  copyFileSync(join(packageFolder(), 'biome.json'), join(folder, 'biome.json'));
  for (const [index, [, under, code]] of CASES.entries()) write(folder, caseFile(index, under), `${code}\n`);

  const report = lint(folder);
  for (const [index, [verdict, under, code]] of CASES.entries()) {
    const refused = report.includes(`${caseFile(index, under)}:`);
    assert.equal(refused ? 'refused' : 'allowed', verdict, `${under}: ${code}`);
  }
});

test('the linter refuses a circle of imports', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-layers-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  copyFileSync(join(packageFolder(), 'biome.json'), join(folder, 'biome.json'));
  write(folder, 'workers/there.ts', "import { back } from './back.ts';\nexport function there(): void {\n  back();\n}\n");
  write(folder, 'workers/back.ts', "import { there } from './there.ts';\nexport function back(): void {\n  there();\n}\n");
  assert.match(lint(folder), /noImportCycles/);
});

function caseFile(index: number, folder: string): string {
  return `${folder}/case-${index}.ts`;
}

function write(folder: string, path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

/** The linter's findings, one per line: `path:line:column …`. */
function lint(folder: string): string {
  const biome = join(packageFolder(), 'node_modules', '@biomejs', 'biome', 'bin', 'biome');
  const args = [biome, 'lint', '--reporter=concise', '--max-diagnostics=none', '--colors=off', '.'];
  const run = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  assert.equal(run.error, undefined);
  return run.stdout + run.stderr;
}
