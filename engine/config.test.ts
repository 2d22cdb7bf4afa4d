import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isConfig, OPTIONS } from './config.ts';
import { PRESETS } from './config-presets.ts';
import { type ConfigSources, originText, type ResolvedConfig, resolveConfig } from './config-resolution.ts';
import { configJson, configText, exampleToml, optionsHelp, optionsMarkdown } from './config-text.ts';
import { nearestName } from './nearest-name.ts';
import { GridError } from './protocol/errors.ts';

const SECRET = 'correct horse battery staple, four words and more';

interface Given {
  readonly flags?: Record<string, string>;
  readonly env?: Record<string, string>;
  readonly file?: Record<string, unknown>;
}

function sources({ flags = {}, env = {}, file }: Given): ConfigSources {
  return {
    flags: new Map(Object.entries(flags)),
    env,
    file: file === undefined ? undefined : { path: 'lattice.toml', values: file },
    machine: { dataDir: '/data', gatewayThreads: 2, workerThreads: (gateways) => 8 - gateways },
  };
}

function resolve(given: Given): ResolvedConfig {
  return resolveConfig(sources(given));
}

/** The lines of the error; fails when there is none. */
function problems(given: Given): string[] {
  try {
    resolve(given);
  } catch (error) {
    assert.ok(error instanceof GridError);
    assert.equal(error.code, 'CONFIG_INVALID');
    return error.message.split('\n');
  }
  return assert.fail('the configuration was accepted');
}

function originOf(resolved: ResolvedConfig, name: keyof ResolvedConfig['config']): string {
  const origin = resolved.origins.get(name);
  assert.ok(origin !== undefined);
  return originText(origin);
}

test('without any source every option has its default, and the machine gives threads and folder', () => {
  const resolved = resolve({});
  assert.equal(resolved.config.port, 8080);
  assert.equal(resolved.config.host, '127.0.0.1');
  assert.equal(resolved.config.jwtSecret, undefined);
  assert.deepEqual(resolved.config.trustedOrigins, []);
  assert.equal(resolved.config.dataDir, '/data');
  assert.equal(resolved.config.gatewayThreads, 2);
  assert.equal(resolved.config.workerThreads, 6);
  assert.equal(originOf(resolved, 'port'), 'default');
  assert.equal(originOf(resolved, 'workerThreads'), 'automatic');
  assert.deepEqual(resolved.warnings, []);
});

test('every default and every value of a preset lies in the range of its option', () => {
  for (const option of OPTIONS) {
    if (option.name === 'dataDir') continue; // given by the machine
    assert.ok(option.schema.safeParse(option.default).success, option.name);
  }
  for (const preset of ['high-throughput', 'low-latency'] as const) {
    const { config } = resolve({ flags: { '--preset': preset } });
    assert.ok(isConfig(config));
    for (const [name, value] of Object.entries(PRESETS[preset])) {
      const option = OPTIONS.find((candidate) => candidate.name === name);
      assert.notDeepEqual(value, option?.default, `${preset} leaves ${name} as it is`);
    }
  }
});

test('a flag wins over the environment, that over the file, that over the preset, that over the default', () => {
  const file = { threads: { preset: 'high-throughput', batchRecords: 300 } };
  const env = { LATTICE_BATCH_RECORDS: '200' };
  const all = resolve({ flags: { '--batch-records': '7' }, env, file });
  assert.equal(all.config.batchRecords, 7);
  assert.equal(originOf(all, 'batchRecords'), 'flag --batch-records');
  const noFlag = resolve({ env, file });
  assert.equal(noFlag.config.batchRecords, 200);
  assert.equal(originOf(noFlag, 'batchRecords'), 'environment LATTICE_BATCH_RECORDS');
  const onlyFile = resolve({ file });
  assert.equal(onlyFile.config.batchRecords, 300);
  assert.equal(originOf(onlyFile, 'batchRecords'), 'file lattice.toml');
  const onlyPreset = resolve({ file: { threads: { preset: 'high-throughput' } } });
  assert.equal(onlyPreset.config.batchRecords, 500);
  assert.equal(originOf(onlyPreset, 'batchRecords'), 'preset high-throughput');
  assert.equal(resolve({}).config.batchRecords, 100);
});

test('LATTICE_PORT wins over PORT, and an empty variable counts as not set', () => {
  assert.equal(resolve({ env: { PORT: '1000', LATTICE_PORT: '2000' } }).config.port, 2000);
  assert.equal(resolve({ env: { PORT: '1000', LATTICE_PORT: '' } }).config.port, 1000);
  assert.equal(resolve({ env: { PORT: '', JWT_SECRET: '', LATTICE_FORGOTTEN: '' } }).config.port, 8080);
  assert.equal(resolve({ env: { PORT: '0' } }).config.port, 0);
});

test('thread counts by hand are kept, and workers are counted beside the gateways given', () => {
  const resolved = resolve({ env: { LATTICE_GATEWAY_THREADS: '3' } });
  assert.equal(resolved.config.gatewayThreads, 3);
  assert.equal(resolved.config.workerThreads, 5);
  assert.equal(originOf(resolved, 'gatewayThreads'), 'environment LATTICE_GATEWAY_THREADS');
  const automatic = resolve({ env: { LATTICE_WORKER_THREADS: '0' } });
  assert.equal(automatic.config.workerThreads, 6);
  assert.equal(originOf(automatic, 'workerThreads'), 'automatic');
});

test('a fused server has one gateway and one worker, whatever the machine has, and refuses to be told otherwise', () => {
  const { config, origins } = resolve({ env: { LATTICE_FUSED: 'on' } });
  assert.deepEqual([config.fused, config.gatewayThreads, config.workerThreads], [true, 1, 1]);
  assert.equal(origins.get('workerThreads')?.kind, 'automatic');
  resolve({ env: { LATTICE_FUSED: 'on', LATTICE_GATEWAY_THREADS: '1', LATTICE_WORKER_THREADS: '1' } });
  const [problem = ''] = problems({ env: { LATTICE_FUSED: 'on', LATTICE_WORKER_THREADS: '2' } });
  assert.match(problem, /fused .*gatewayThreads is 1 and workerThreads 2.*set both to 1/);
  assert.equal(problems({ env: { LATTICE_FUSED: 'on', LATTICE_GATEWAY_THREADS: '2' } }).length, 1);
});

for (const text of ['abc', '1e3', '80 ', '0x50', '8080.0', '-1', '65536', ' ', '99999999999999999999']) {
  test(`"${text}" is refused as a port, with the allowed range`, () => {
    assert.deepEqual(problems({ env: { LATTICE_PORT: text } }), [
      `LATTICE_PORT: ${JSON.stringify(/^-?\d{1,15}$/.test(text) ? Number(text) : text)} is not allowed; ` +
        'port takes a whole number from 0 to 65535',
    ]);
  });
}

test('a switch takes on and off in text and booleans in the file, and nothing else', () => {
  assert.equal(resolve({ env: { LATTICE_PG_JSON: 'off' } }).config.pgJson, false);
  assert.equal(resolve({ flags: { '--pg-json': 'on' } }).config.pgJson, true);
  assert.equal(resolve({ file: { storage: { pgJson: false } } }).config.pgJson, false);
  assert.equal(resolve({ file: { storage: { pgJson: 'off' } } }).config.pgJson, false);
  assert.deepEqual(problems({ env: { LATTICE_PG_JSON: 'no' } }), [
    'LATTICE_PG_JSON: "no" is not allowed; pgJson takes on or off',
  ]);
});

test('a choice and a power of two name what they take', () => {
  assert.deepEqual(problems({ flags: { '--store': 'fast' } }), [
    '--store: "fast" is not allowed; store takes one of write-behind, write-through, none',
  ]);
  assert.match(problems({ flags: { '--ring-bytes': '5000000' } })[0] ?? '', /ringBytes takes a power of two from 262144/);
});

test('numbers in the file are numbers, not texts', () => {
  assert.match(problems({ file: { server: { port: '8080' } } })[0] ?? '', /^lattice\.toml: server\.port: "8080" is not allowed/);
  assert.match(problems({ file: { server: { port: 80.5 } } })[0] ?? '', /^lattice\.toml: server\.port: 80\.5 is not allowed/);
});

test('trusted origins are a list in the file and have commas between them elsewhere', () => {
  const expected = ['https://a.example', 'http://b.example:3000'];
  assert.deepEqual(resolve({ env: { LATTICE_TRUSTED_ORIGINS: expected.join(', ') } }).config.trustedOrigins, expected);
  assert.deepEqual(resolve({ file: { server: { trustedOrigins: expected } } }).config.trustedOrigins, expected);
  assert.equal(problems({ env: { LATTICE_TRUSTED_ORIGINS: 'a.example' } }).length, 1);
  assert.equal(problems({ env: { LATTICE_TRUSTED_ORIGINS: 'https://a.example/path' } }).length, 1);
});

test('an unknown name of any source is refused with the nearest known one', () => {
  assert.deepEqual(problems({ flags: { '--prot': '1' } }), ['the flag --prot is unknown; the nearest name is --port']);
  assert.deepEqual(problems({ env: { LATTICE_DATABASE_URL: 'postgres://x' } }), [
    'the variable LATTICE_DATABASE_URL is unknown; the nearest name is DATABASE_URL',
  ]);
  assert.deepEqual(problems({ env: { LATTICE_WORKER_THREAD: '1' } }), [
    'the variable LATTICE_WORKER_THREAD is unknown; the nearest name is LATTICE_WORKER_THREADS',
  ]);
  assert.deepEqual(problems({ file: { storage: { flushDelay: 1 } } }), [
    'lattice.toml: storage.flushDelay is unknown; the nearest name is "storage.flushDelayMs"',
  ]);
  assert.deepEqual(problems({ file: { storag: {} } }), [
    'lattice.toml: the table [storag] is unknown; the nearest name is [storage]',
  ]);
  assert.deepEqual(problems({ file: { server: { flushDelayMs: 1 } } }), [
    'lattice.toml: server.flushDelayMs is unknown; the nearest name is "storage.flushDelayMs"',
  ]);
  assert.deepEqual(problems({ file: { port: 1 } }), ['lattice.toml: port is unknown; the nearest name is "server.port"']);
});

test('variables for tests and the one that names the file are left alone', () => {
  assert.equal(resolve({ env: { LATTICE_TEST_SEED: '1', LATTICE_CONFIG: 'x.toml' } }).config.port, 8080);
});

test('all mistakes are told at once, from every source', () => {
  const told = problems({
    flags: { '--port': 'x', '--hots': 'y' },
    env: { LATTICE_MAX_MAPS: '0' },
    file: { server: { maxSessions: 0 } },
  });
  assert.equal(told.length, 4);
});

test('a host that others can reach needs a secret, and the message says what to set', () => {
  for (const host of ['0.0.0.0', '::', '192.168.1.2', 'grid.example.com', '127.0.0.1.nip.io']) {
    const [told] = problems({ flags: { '--host': host } });
    assert.match(told ?? '', /^host .* no authentication: set JWT_SECRET/);
    assert.equal(resolve({ flags: { '--host': host }, env: { JWT_SECRET: SECRET } }).config.host, host);
  }
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) {
    assert.equal(resolve({ flags: { '--host': host } }).config.host, host);
  }
});

test('a connection must be able to hold one frame', () => {
  assert.match(problems({ env: { LATTICE_SESSION_BUFFER_BYTES_MAX: '65536' } })[0] ?? '', /sessionBufferBytesMax 65536/);
  assert.match(problems({ env: { LATTICE_HELD_BYTES_MAX: '65536' } })[0] ?? '', /heldBytesMax 65536/);
});

test('a short secret is warned of', () => {
  assert.match(resolve({ env: { JWT_SECRET: 'short' } }).warnings[0] ?? '', /jwtSecret has 5 characters/);
  assert.deepEqual(resolve({ env: { JWT_SECRET: SECRET } }).warnings, []);
});

test('no text shows a secret, neither an accepted nor a refused one', () => {
  const password = 'hunter2hunter2hunter2hunter2hunter2';
  const given = { env: { JWT_SECRET: password, DATABASE_URL: `postgres://u:${password}@h/d` } };
  const resolved = resolve(given);
  for (const shown of [configText(resolved), configJson(resolved)]) {
    assert.ok(!shown.includes(password));
    assert.equal(shown.split('(set)').length - 1, 2);
  }
  const told = problems({ env: { DATABASE_URL: `mysql://u:${password}@h/d`, JWT_SECRET: `${password} PRIVATE KEY` } });
  assert.equal(told.length, 2);
  assert.ok(!told.join().includes(password));
});

test('help, table and example name every option, and JSON is valid', () => {
  const texts = [optionsHelp(), optionsMarkdown()];
  for (const option of OPTIONS) {
    for (const text of texts) assert.ok(text.includes(option.flag) && text.includes(option.env[0] ?? '?'), option.name);
    assert.ok(exampleToml().includes(`# ${option.name} = `), option.name);
    assert.ok(configText(resolve({})).includes(option.name));
  }
  const shown: unknown = JSON.parse(configJson(resolve({ env: { PORT: '9' } })));
  assert.ok(typeof shown === 'object' && shown !== null && 'port' in shown && 'jwtSecret' in shown);
  assert.deepEqual(shown.port, { value: 9, origin: 'environment PORT' });
  assert.deepEqual(shown.jwtSecret, { value: null, origin: 'default' });
});

test('names are unique in every source', () => {
  for (const names of [OPTIONS.map(({ name }) => name), OPTIONS.map(({ flag }) => flag), OPTIONS.flatMap(({ env }) => env)]) {
    assert.equal(new Set<string>(names).size, names.length);
  }
});

test('the nearest name has the fewest edits, whatever its case', () => {
  assert.equal(nearestName('lattice_prot', ['LATTICE_HOST', 'LATTICE_PORT']), 'LATTICE_PORT');
  assert.equal(nearestName('flushdelay', ['flushDelayMs', 'flushRecordsMax']), 'flushDelayMs');
  assert.equal(nearestName('', ['a', 'bb']), 'a');
  assert.equal(nearestName('x', []), undefined);
});

test('injected faults are refused in production, and there only', () => {
  assert.deepEqual(problems({ flags: { '--fault-injection': 'on' }, env: { NODE_ENV: 'production' } }), [
    'faultInjection is refused while NODE_ENV is production: turn one of them off',
  ]);
  for (const NODE_ENV of ['', 'test', 'development']) {
    const { config, warnings } = resolve({ env: { NODE_ENV, LATTICE_FAULT_INJECTION: 'on', LATTICE_FAULT_RING_DELAY_MS: '5' } });
    assert.equal(config.faultRingDelayMs, 5);
    assert.deepEqual(warnings, ['faultInjection is on: things go wrong on purpose']);
  }
  assert.equal(resolve({ env: { NODE_ENV: 'production' } }).config.faultInjection, false);
});

test('a fault that is set while fault injection is off is a problem, of which the seed and the log lines are none', () => {
  const file = { faults: { faultSeed: 3, faultLogEvents: false, faultSyncErrorPermille: 10, faultWorkerKillMs: 0 } };
  assert.deepEqual(problems({ file, flags: { '--fault-ring-drop-permille': '1' } }), [
    'faultRingDropPermille is set and does nothing: turn faultInjection on',
    'faultSyncErrorPermille is set and does nothing: turn faultInjection on',
  ]);
  assert.equal(resolve({ env: { LATTICE_FAULT_SEED: '3', LATTICE_FAULT_LOG_EVENTS: 'off' } }).config.faultSeed, 3);
});
