import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { descendantsCpuMs, parseStat, parseStatusNumber, sampleProcess, useBetween } from './process-stats.ts';

const onLinux = { skip: process.platform !== 'linux' ? 'there is no /proc here' : false };

test('a stat line is read behind the last parenthesis of its name', () => {
  const line = '4711 (a (b) c) S 42 4711 4711 0 -1 4194304 9 8 7 6 123 45 30 12 20 0 11 0 1 2 3';
  assert.deepEqual(parseStat(line), { name: 'a (b) c', parentPid: 42, userMs: 1230, systemMs: 450, waitedMs: 420 });
});

test('numbers of a status file are found by their whole name', () => {
  const text = 'VmRSS:\t  2048 kB\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t99\n';
  assert.equal(parseStatusNumber(text, 'VmRSS'), 2048);
  assert.equal(parseStatusNumber(text, 'voluntary_ctxt_switches'), 17);
  assert.equal(parseStatusNumber(text, 'Threads'), 0);
});

test('use between two samples is the difference, with new threads from zero and ended ones left out', () => {
  const thread = { name: 'node', userMs: 0, systemMs: 0 };
  const before = {
    userMs: 100,
    systemMs: 10,
    rssBytes: 1,
    threads: [
      { ...thread, tid: 1, runMs: 90, voluntarySwitches: 5 },
      { ...thread, tid: 2, runMs: 20, voluntarySwitches: 1 },
    ],
  };
  const after = {
    userMs: 180,
    systemMs: 30,
    rssBytes: 1,
    threads: [
      { ...thread, tid: 1, runMs: 120, voluntarySwitches: 9 },
      { ...thread, tid: 3, runMs: 70, voluntarySwitches: 4 },
    ],
  };
  const use = useBetween(before, after);
  assert.equal(use.cpuMs, 100);
  assert.equal(use.runMs, 100);
  assert.equal(use.voluntarySwitches, 8);
  assert.deepEqual(
    use.threads.map(({ tid, cpuMs }) => [tid, cpuMs]),
    [
      [3, 70],
      [1, 30],
    ],
  );
});

test('work of this process shows in its sample', onLinux, () => {
  const before = sampleProcess(process.pid);
  const spentMs = burn(150);
  const after = sampleProcess(process.pid);
  assert.ok(before !== undefined && after !== undefined);
  const use = useBetween(before, after);
  assert.ok(use.runMs >= spentMs * 0.8, `${use.runMs} ms counted of ${spentMs} ms`);
  assert.ok(after.rssBytes > 10_000_000);
});

test('CPU of a child counts as a descendant, not as its parent', onLinux, async () => {
  const before = descendantsCpuMs(process.pid);
  const child = spawn(process.execPath, [
    '-e',
    'const e=Date.now()+300;while(Date.now()<e);console.log(1);setTimeout(()=>{},60000)',
  ]);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const used = descendantsCpuMs(process.pid) - before;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  assert.ok(used >= 50, `${used} ms`);
});

test('CPU of a child that ended and was waited for still counts as a descendant', onLinux, async () => {
  const before = descendantsCpuMs(process.pid);
  const child = spawn(process.execPath, ['-e', 'while(process.cpuUsage().user<300000);']);
  await new Promise((resolve) => child.once('exit', resolve));
  const used = descendantsCpuMs(process.pid) - before;
  assert.ok(used >= 250, `${used} ms`);
  assert.ok(descendantsCpuMs(process.pid) >= before + used, 'it does not fall');
});

test('CPU of a child of a child that ended counts, too', onLinux, async () => {
  const before = descendantsCpuMs(process.pid);
  const busy = JSON.stringify('while(process.cpuUsage().user<300000);');
  const script = `require('child_process').spawnSync(process.execPath,['-e',${busy}]);console.log(1);setTimeout(()=>{},60000)`;
  const child = spawn(process.execPath, ['-e', script]);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const used = descendantsCpuMs(process.pid) - before;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  assert.ok(used >= 250, `${used} ms`);
});

test('a process that is gone has no sample', () => {
  assert.equal(sampleProcess(2 ** 22 + 1), undefined);
});

/** Uses CPU until the process's own clock says `ms`; returns what it says. */
function burn(ms: number): number {
  const start = process.cpuUsage();
  for (;;) {
    const { user, system } = process.cpuUsage(start);
    const spentMs = (user + system) / 1000;
    if (spentMs >= ms) return spentMs;
  }
}
