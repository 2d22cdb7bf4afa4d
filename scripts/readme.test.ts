/** Holds the documents to the program: the option table, the example, the messages, and every link between files. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ratioTables } from '../bench/page/ratio-tables.ts';
import { readResults } from '../bench/page/results-store.ts';
import { optionsMarkdown } from '../engine/config-text.ts';
import { OPERATIONS } from '../engine/operation/operation.ts';
import { packageFolder } from '../workers/package-folder.ts';
import { execArgvFor, moduleBeside } from '../workers/threads.ts';

const EXAMPLE_DEADLINE_MS = 30_000;
const EXAMPLE_URL = 'ws://127.0.0.1:8080/ws';

const readme = textOf('README.md');

function textOf(path: string): string {
  return readFileSync(join(packageFolder(), path), 'utf8');
}

test('the option table of the README is the one that the program prints', () => {
  const [, table] = /<!-- options: .* -->\n\n([\s\S]*)\n<!-- \/options -->/.exec(readme) ?? [];
  assert.equal(table, optionsMarkdown(), 'run `node scripts/readme.mjs`');
});

test('the ratios of the README are those of the results that are kept', () => {
  const [, tables] = /<!-- ratios: .* -->\n\n([\s\S]*)\n\n<!-- \/ratios -->/.exec(readme) ?? [];
  const results = readResults(join(packageFolder(), 'bench', 'results.json'));
  assert.equal(tables, ratioTables(results), 'run `node scripts/readme.mjs`');
});

test('the README names every message that the server acts on', () => {
  const [, named = ''] = /## What the server speaks\n([\s\S]*?)\n## /.exec(readme) ?? [];
  for (const type of ['AUTH', 'BATCH', ...Object.keys(OPERATIONS)]) assert.ok(named.includes(`\`${type}\``), type);
});

test('the example of the README writes a record and reads it back', { timeout: EXAMPLE_DEADLINE_MS }, async (t) => {
  const [, code = ''] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
  assert.ok(code.includes(EXAMPLE_URL));
  const cli = moduleBeside('../gateway/cli', import.meta.url);
  const words = [...(execArgvFor(cli).execArgv ?? []), fileURLToPath(cli), 'start', '--port', '0', '--store', 'none'];
  const server = start(t, words, tmpdir());
  const [, port = ''] = await printed(server, /PORT=(\d+)\n/);

  const url = EXAMPLE_URL.replace('8080', port);
  const example = ['--experimental-websocket', '--input-type=module', '--eval', code.replace(EXAMPLE_URL, url)];
  const [output] = await printed(start(t, example, packageFolder()), /OP_ACK[\s\S]*SYNC_RESP_LEAF[\s\S]*people: 134000/);
  assert.match(output, /lastId: '1'/);
});

test('every link of the documents leads to a file', () => {
  const folders = ['.', 'docs', 'docs/decisions'];
  const documents = folders.flatMap((folder) =>
    readdirSync(join(packageFolder(), folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  );
  assert.ok(documents.length >= 6, `found ${documents.length}`);
  for (const document of documents) {
    for (const [, target = ''] of textOf(document).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(target)) continue;
      assert.ok(existsSync(join(packageFolder(), dirname(document), target)), `${document}: ${target}`);
    }
  }
});

/** Ended with the test, and waited for. */
function start(t: TestContext, words: readonly string[], folder: string): ChildProcess {
  const child = spawn(process.execPath, words, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(async () => {
    if (child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await ended;
  });
  return child;
}

/** What the process had printed when it matched; rejects with everything that it said when it ends without a match. */
function printed(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      const match = pattern.exec(stdout);
      if (match !== null) resolve(match);
    });
    child.on('exit', () => reject(new Error(`ended before it printed ${String(pattern)}:\n${stdout}${stderr}`)));
  });
}
