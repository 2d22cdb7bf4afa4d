import assert from 'node:assert/strict';
import test from 'node:test';
import { ActMarks } from '../../engine/domains/kv/act-marks.ts';
import type { Call } from '../../engine/domains/kv/command.ts';
import { decodeAct, decodeHold, decodeWhole, encodeHoldAnswer } from '../../engine/domains/kv/joint-bodies.ts';
import { touchedBy } from '../../engine/domains/kv/touched-keys.ts';
import { REQUEST_ACT_HOLD, REQUEST_ACT_RELEASE, REQUEST_ACT_WHOLE } from '../../engine/protocol/envelope.ts';
import { type ErrorCode, GridError } from '../../engine/protocol/errors.ts';
import { RespCommand } from '../../engine/protocol/resp-parser.ts';
import { TurnClock } from '../turn-clock.ts';
import { COMMANDS_BY_NAME } from './command-router.ts';
import { type ActOutcome, JointActs } from './joint-acts.ts';
import { KnownHashes } from './known-hashes.ts';

const CLEAR = { kind: 'clear', databases: [0] } as const;
const HELD = ['hold 0', 'hold 1', 'hold 2'];
const LET_GO = ['tell release 0', 'tell release 1', 'tell release 2'];

/** Three workers that do what they are asked, save what a test says; what they were asked and told, a line each. */
class Workers {
  readonly lines: string[] = [];
  /** By line: refusals, one a time that it is asked. */
  readonly refusals = new Map<string, string[]>();
  /** By line: errors, one a time that it is asked. */
  readonly errors = new Map<string, ErrorCode[]>();
  /** Of keys that are watched, as every worker tells them. */
  versions: readonly string[] = [];
  /** Of maps, as every worker tells them. */
  hashNames: readonly Uint8Array[] = [];
  readonly acts = new JointActs({
    calls: {
      everyone: [0, 1, 2],
      request: async (kind, workers, bodyOf) => {
        assert.notEqual(workers.length, 0, 'asked of nobody it is never answered');
        return workers.map((worker) => [this.#answer(kind, lineOf(kind, worker, bodyOf(worker)))]);
      },
    },
    links: { request: (worker, _call, _session, kind, body) => this.lines.push(`tell ${lineOf(kind, worker, body)}`) },
    router: { ownerOfKey: () => 0, mayNameMap: () => false },
    clock: new TurnClock(),
    marks: new ActMarks(new SharedArrayBuffer(ActMarks.BYTES)),
    known: new KnownHashes(1),
    opTimeoutMs: 60_000,
  });

  #answer(kind: number, line: string): Uint8Array {
    this.lines.push(line);
    const error = this.errors.get(line)?.shift();
    if (error !== undefined) throw new GridError(error, 'as the test has it');
    const refusal = this.refusals.get(line)?.shift() ?? '';
    if (kind !== REQUEST_ACT_HOLD) return new TextEncoder().encode(refusal);
    return encodeHoldAnswer({
      refusal,
      told: [],
      versions: this.versions,
      hashNames: this.hashNames,
      replies: new Uint8Array(0),
    });
  }
}

function lineOf(kind: number, worker: number, body: Uint8Array): string {
  switch (kind) {
    case REQUEST_ACT_HOLD:
      assert.ok(decodeHold(body).isEverything);
      return `hold ${worker}`;
    case REQUEST_ACT_WHOLE:
      return `${decodeWhole(body).step} ${worker}`;
    default:
      assert.equal(kind, REQUEST_ACT_RELEASE);
      assert.equal(decodeAct(body), 1);
      return `release ${worker}`;
  }
}

test('a change of databases is decided by the first worker, done by the others, and over once every log has it', async () => {
  const workers = new Workers();
  assert.equal(await workers.acts.change(CLEAR), '');
  const told = ['tell over 1', 'tell over 2', ...LET_GO];
  assert.deepEqual(workers.lines, [...HELD, 'decide 0', 'do 1', 'do 2', 'over 0', ...told]);
  assert.equal(workers.acts.underWay, 0);
});

test('a change that any worker refuses to hold is decided nowhere, and all is let go', async () => {
  const workers = new Workers();
  workers.refusals.set('hold 2', ['READONLY no']);
  assert.equal(await workers.acts.change(CLEAR), 'READONLY no');
  assert.deepEqual(workers.lines, [...HELD, ...LET_GO]);
});

test('a change that the first worker refuses is done by none', async () => {
  const workers = new Workers();
  workers.refusals.set('decide 0', ['TRYAGAIN no']);
  assert.equal(await workers.acts.change(CLEAR), 'TRYAGAIN no');
  assert.deepEqual(workers.lines, [...HELD, 'decide 0', ...LET_GO]);
});

test('a worker that does not answer is asked again until it has done what is decided', async () => {
  const workers = new Workers();
  workers.errors.set('do 2', ['UNAVAILABLE', 'DEADLINE_EXCEEDED']);
  assert.equal(await workers.acts.change(CLEAR), '');
  assert.equal(workers.lines.filter((line) => line === 'do 2').length, 3);
  assert.ok(workers.lines.indexOf('over 0') > workers.lines.lastIndexOf('do 2'));
});

for (const step of ['decide 0', 'do 2']) {
  test(`a change that the log does not take for good at ${step} is not over: the next start carries it on`, async () => {
    const workers = new Workers();
    workers.errors.set(step, ['READ_ONLY']);
    assert.match(await workers.acts.change(CLEAR), /READ_ONLY/);
    assert.deepEqual(
      workers.lines.filter((line) => line.includes('over')),
      [],
    );
    assert.deepEqual(workers.lines.slice(-LET_GO.length), LET_GO);
  });

  test(`a change that waits for room in the log at ${step} is over: no later start makes it again`, async () => {
    const workers = new Workers();
    workers.errors.set(step, ['DISK_FULL']);
    assert.match(await workers.acts.change(CLEAR), /DISK_FULL/);
    assert.deepEqual(workers.lines, [...HELD, 'decide 0', 'do 1', 'do 2', 'over 0', 'tell over 1', 'tell over 2', ...LET_GO]);
  });
}

test('a swap is over whatever a log says: made again it would swap back what is in the data store', async () => {
  const workers = new Workers();
  workers.errors.set('do 2', ['READ_ONLY']);
  assert.match(await workers.acts.change({ kind: 'swap', databases: [0, 1] }), /READ_ONLY/);
  assert.deepEqual(workers.lines, [...HELD, 'decide 0', 'do 1', 'do 2', 'over 0', 'tell over 1', 'tell over 2', ...LET_GO]);
});

test('a change that the first worker has made, and the data store not taken, is made by all', async () => {
  const workers = new Workers();
  workers.errors.set('decide 0', ['STORAGE_UNAVAILABLE']);
  assert.match(await workers.acts.change(CLEAR), /STORAGE_UNAVAILABLE/);
  assert.deepEqual(workers.lines, [...HELD, 'decide 0', 'do 1', 'do 2', 'over 0', 'tell over 1', 'tell over 2', ...LET_GO]);
});

test('a change at which the first worker dies again and again is made by none', async () => {
  const workers = new Workers();
  workers.errors.set('decide 0', ['INTERNAL']);
  assert.match(await workers.acts.change(CLEAR), /INTERNAL/);
  assert.deepEqual(workers.lines, [...HELD, 'decide 0', ...LET_GO]);
});

test('a change at which another worker dies again and again is told so, and over: no later start makes it, over newer writes', async () => {
  const workers = new Workers();
  workers.errors.set('do 2', ['INTERNAL']);
  assert.match(await workers.acts.change(CLEAR), /INTERNAL/);
  assert.deepEqual(workers.lines, [...HELD, 'decide 0', 'do 1', 'do 2', 'over 0', 'tell over 1', 'tell over 2', ...LET_GO]);
});

test('a server that ends lets nothing go: the first worker keeps its log for those that have not applied', async () => {
  const workers = new Workers();
  workers.errors.set('do 2', ['UNAVAILABLE']);
  const changed = workers.acts.change(CLEAR);
  await new Promise((resolve) => setImmediate(resolve));
  workers.acts.close();
  assert.match(await changed, /DEADLINE_EXCEEDED/);
  assert.deepEqual(workers.lines, [...HELD, 'decide 0', 'do 1', 'do 2']);
});

test('the others are told that a change is over only when the log of the first has it', async () => {
  const workers = new Workers();
  workers.errors.set('over 0', ['DISK_FULL']);
  assert.match(await workers.acts.change(CLEAR), /DISK_FULL/);
  assert.deepEqual(workers.lines, [...HELD, 'decide 0', 'do 1', 'do 2', 'over 0', ...LET_GO]);
});

test('what is watched is compared in time that grows with it, at each worker that has a version of it', async () => {
  const versions = Array.from({ length: 20_000 }, (_, index) => `version ${index}`);
  const watched = versions.map((version, index) => ({
    space: Buffer.from('db0'),
    key: Buffer.from(`k${index}`),
    versions: new Map([0, 1].map((worker) => [worker, version])),
  }));
  const outcomeAt = (told: readonly string[]): Promise<ActOutcome> => {
    const workers = new Workers();
    workers.versions = told;
    return workers.acts.write([], watched, false);
  };
  assert.deepEqual(await outcomeAt(versions), []);
  assert.equal(await outcomeAt([...versions.slice(0, -1), 'another one']), 'changed');
});

test('commands that take long let others have their turn before anything is decided', async () => {
  const busy = (call: Call): void => {
    const untilMs = performance.now() + 6;
    while (performance.now() < untilMs);
    call.out.ok();
  };
  const spec = { name: 'busy', arity: 1, flags: ['readonly'], keys: [0, 0, 0], route: 'key', run: busy } as const;
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const commands = Array.from({ length: 12 }, () => ({ spec, args: new RespCommand(), db: 0 }));
  const outcome = await new Workers().acts.write(commands, [], false);
  isOver = true;
  assert.equal(outcome.length, commands.length);
  assert.ok(turns >= 6, `${turns} turns`);
});

test('an act that names too many keys is refused before anything is held', async () => {
  const spec = { name: 'many', arity: -1, flags: ['readonly'], keys: [1, -1, 1], route: 'sum' } as const;
  const args = new RespCommand();
  args.clear(Buffer.from('k'));
  for (let index = 0; index <= 100_001; index++) args.add(0, 1);
  const workers = new Workers();
  assert.match(
    String(await workers.acts.write([{ spec, args, db: 0 }], [], false)),
    /^ERR one act over several workers may touch/,
  );
  assert.match(
    String(await workers.acts.read(touchedBy(spec, args, 0), new Map())),
    /^ERR one act over several workers may touch/,
  );
  assert.deepEqual(workers.lines, []);
});

test('a hash whose name is too long is absent without a question to any worker', async () => {
  const spec = COMMANDS_BY_NAME.get('hmget')?.spec;
  assert.ok(spec !== undefined);
  const args = new RespCommand();
  args.clear(new Uint8Array(3000));
  args.add(0, 5);
  args.add(0, 3000);
  args.add(0, 1);
  args.add(1, 1);
  const workers = new Workers();
  const [reply] = await workers.acts.write([{ spec, args, db: 0 }], [], false);
  assert.equal(Buffer.from(reply ?? '').toString(), '*2\r\n$-1\r\n$-1\r\n');
  assert.deepEqual(workers.lines, []);
});

test('maps whose names differ only in a byte order mark, or in bytes that are no text, are told apart', async () => {
  const spec = COMMANDS_BY_NAME.get('keys')?.spec;
  assert.ok(spec !== undefined);
  const args = new RespCommand();
  args.clear(Buffer.from('keys*'));
  args.add(0, 4);
  args.add(4, 1);
  const workers = new Workers();
  workers.hashNames = [Buffer.from('m'), Buffer.from('\ufeffm'), Buffer.of(0x80), Buffer.of(0x81)];
  const [reply] = await workers.acts.write([{ spec, args, db: 0 }], [], false);
  assert.match(Buffer.from(reply ?? '').toString(), /^\*4\r\n/);
});
