import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { busyNodes, type CallNode, callTree, topFunctions } from './cpu-profile.ts';
import { widePlaces } from './flame-graph.ts';

const SCRIPT = fileURLToPath(new URL(`../profile${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url));

function rawNode(id: number, functionName: string, children: readonly number[] = []) {
  return { id, callFrame: { functionName, url: `file:///x/${functionName}.js`, lineNumber: id - 1 }, children };
}

test('only what ran within the window counts', () => {
  const nodes = [rawNode(1, 'root', [2]), rawNode(2, 'outer', [3]), rawNode(3, 'inner')];
  const raw = { nodes, startTime: 1000, samples: [2, 3, 3, 2], timeDeltas: [0, 10, 20, 30] };
  const selfOf = (fromUs: number, toUs: number) => callTree(raw, { fromUs, toUs }).map(({ selfUs }) => selfUs);
  assert.deepEqual(selfOf(0, 5000), [0, 10, 50]);
  assert.deepEqual(selfOf(1005, 5000), [0, 0, 50]);
  assert.deepEqual(selfOf(0, 1030), [0, 10, 20]);
  assert.deepEqual(
    callTree(raw, { fromUs: 0, toUs: 5000 }).map(({ name, parent }) => [name, parent]),
    [
      ['root root.js:1', 0],
      ['outer outer.js:2', 1],
      ['inner inner.js:3', 2],
    ],
  );
});

test('a function called from several places has the time of all of them, and idling is nobody’s work', () => {
  const nodes: CallNode[] = [
    { id: 1, parent: 0, name: '(root)', selfUs: 0 },
    { id: 2, parent: 1, name: '(idle)', selfUs: 900 },
    { id: 3, parent: 1, name: 'a', selfUs: 30 },
    { id: 4, parent: 1, name: 'b', selfUs: 10 },
    { id: 5, parent: 4, name: 'a', selfUs: 60 },
  ];
  const { busyUs, functions } = topFunctions({ thread: 'worker', nodes }, 10);
  assert.equal(busyUs, 100);
  assert.deepEqual(functions, [
    { name: 'a', selfUs: 90, share: 0.9 },
    { name: 'b', selfUs: 10, share: 0.1 },
  ]);
});

test('time below JavaScript is work, under a name that says so', () => {
  const special = (id: number, functionName: string, children: readonly number[] = []) => {
    return { id, callFrame: { functionName, url: '', lineNumber: -1 }, children };
  };
  const nodes = [special(1, '(root)', [2, 3]), special(2, '(program)'), special(3, '(idle)')];
  const raw = { nodes, startTime: 1000, samples: [2, 3, 3], timeDeltas: [0, 10, 20] };
  const profile = { thread: 'gateway', nodes: callTree(raw, { fromUs: 0, toUs: 5000 }) };
  assert.deepEqual(topFunctions(profile, 10), {
    busyUs: 10,
    functions: [{ name: 'below JavaScript', selfUs: 10, share: 1 }],
  });
  assert.deepEqual(
    busyNodes(profile).map(({ name }) => name),
    ['(root)', 'below JavaScript'],
  );
});

test('a flame graph leaves out what is too narrow, with all that it calls, and keeps what only calls', () => {
  const nodes: CallNode[] = [
    { id: 1, parent: 0, name: '(root)', selfUs: 0 },
    { id: 2, parent: 1, name: 'caller', selfUs: 0 },
    { id: 3, parent: 2, name: 'wide', selfUs: 99_950 },
    { id: 4, parent: 1, name: 'narrow', selfUs: 40 },
    { id: 5, parent: 4, name: 'narrower', selfUs: 10 },
  ];
  assert.deepEqual(
    widePlaces(nodes).map(({ name }) => name),
    ['(root)', 'caller', 'wide'],
  );
});

test('a short run names the functions of gateway and worker and leaves their profiles', () => {
  const out = mkdtempSync(join(tmpdir(), 'lattice-profile-test-'));
  try {
    const words = ['merge-hot', '--seconds', '0.5', '--variant', 'alone', '--no-graphs', '--out', out];
    const { status, stdout, stderr } = spawnSync(process.execPath, [...process.execArgv, SCRIPT, ...words], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^gateway(-0)?: busy for [1-9]\d* ms$/m);
    assert.match(stdout, /^worker(-0)?: busy for [1-9]\d* ms$/m);
    assert.match(stdout, /crdt-service\./); // a short run may miss any one function of it
    assert.ok(readdirSync(out).filter((name) => name.endsWith('.cpuprofile')).length >= 3, 'main, gateway and worker');
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});

test('a workload that nobody knows is refused with the list of those that there are', () => {
  const { status, stderr } = spawnSync(process.execPath, [...process.execArgv, SCRIPT, 'no-such'], { encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /ingest-10 .*idle redis-get redis-set/);
});
