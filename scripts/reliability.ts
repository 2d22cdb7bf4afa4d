/**
 * Writes RELIABILITY.md from the bars and the results of runs: npm run reliability
 *
 * With --run it first runs the test files that the bars name, each alone, and notes their results. The long runs (chaos, soak)
 * note theirs when they are run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Bar, judgeBar, parseBars } from './chaos/bars.ts';
import { reliabilityPage } from './chaos/reliability-page.ts';
import { appendResult, PROJECT_ROOT, readResults } from './chaos/results.ts';

const TEST_TIMEOUT_MS = 300_000;

const bars = parseBars(readFileSync(join(PROJECT_ROOT, 'reliability', 'bars.json'), 'utf8'));
if (process.argv.includes('--run')) runTests(bars);
const judged = bars.map((bar) => judgeBar(bar, readResults()));
writeFileSync(join(PROJECT_ROOT, 'RELIABILITY.md'), reliabilityPage(judged));
for (const { bar, state } of judged) process.stdout.write(`${state.padEnd(11)} ${bar.promise}\n`);

function runTests(of: readonly Bar[]): void {
  const files = new Set(of.flatMap(({ proofs }) => proofs.map(({ run }) => run)).filter((run) => run.endsWith('.ts')));
  for (const file of files) {
    const compiled = fileURLToPath(new URL(`../${file.replace(/\.ts$/, '.js')}`, import.meta.url));
    if (existsSync(compiled)) runTest(file, compiled);
    else process.stdout.write(`${file} is not there\n`);
  }
}

function runTest(file: string, compiled: string): void {
  const beganMs = performance.now();
  const args = ['--enable-source-maps', '--test', '--test-reporter=tap', compiled];
  const { status, stdout } = spawnSync(process.execPath, args, { cwd: PROJECT_ROOT, encoding: 'utf8', timeout: TEST_TIMEOUT_MS });
  const count = (name: string): number => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(stdout)?.[1] ?? 0);
  const failures = status === 0 ? 0 : Math.max(1, count('fail'));
  const seconds = Math.round((performance.now() - beganMs) / 1000);
  process.stdout.write(`${failures === 0 ? 'clean ' : 'FAILED'} ${file}, ${count('pass')} tests in ${seconds} s\n`);
  appendResult({ run: file, title: `the tests of ${file}`, amount: count('pass'), unit: 'tests', failures, notes: {}, seconds });
}
