import assert from 'node:assert/strict';
import test from 'node:test';
import { type ManagedService, ServiceRegistry } from './service-registry.ts';

class TestService implements ManagedService {
  readonly name: string;
  readonly #log: string[];
  readonly #fails: 'init' | 'shutdown' | undefined;

  constructor(name: string, log: string[], fails?: 'init' | 'shutdown') {
    this.name = name;
    this.#log = log;
    this.#fails = fails;
  }

  init(): void {
    if (this.#fails === 'init') throw new Error(`${this.name} cannot start`);
    this.#log.push(`init ${this.name}`);
  }

  reset(): void {
    this.#log.push(`reset ${this.name}`);
  }

  async shutdown(terminate: boolean): Promise<void> {
    this.#log.push(`${terminate ? 'terminate' : 'shutdown'} ${this.name}`);
    if (this.#fails === 'shutdown') throw new Error(`${this.name} cannot stop`);
  }
}

class Replicating extends TestService {
  beforeMigration(): void {}
}

function canMigrate(service: ManagedService): service is ManagedService & Replicating {
  return 'beforeMigration' in service;
}

test('services start in their order, core ones first, and stop in reverse', async () => {
  const log: string[] = [];
  const registry = new ServiceRegistry();
  registry.registerCore(new TestService('a', log));
  registry.registerCore(new TestService('b', log));
  registry.register(new TestService('c', log));
  assert.deepEqual(registry.names(), ['a', 'b', 'c']);
  await registry.start();
  registry.resetAll();
  await registry.shutdown(false);
  assert.deepEqual(log, [
    'init a',
    'init b',
    'init c',
    'reset a',
    'reset b',
    'reset c',
    'shutdown c',
    'shutdown b',
    'shutdown a',
  ]);
});

test('core services come first and are never replaced, others are', () => {
  const registry = new ServiceRegistry();
  registry.registerCore(new TestService('core', []));
  const second = new TestService('plain', []);
  registry.register(new TestService('plain', []));
  registry.register(second);
  assert.equal(registry.byName('plain'), second);
  assert.throws(() => registry.register(new TestService('core', [])), /core service core cannot be replaced/);
  assert.throws(() => registry.registerCore(new TestService('late', [])), /after another service/);
  assert.equal(registry.byName('none'), undefined);
});

test('a service that cannot start ends the start, and those before it are ended in reverse', async () => {
  const log: string[] = [];
  const registry = new ServiceRegistry();
  registry.register(new TestService('a', log));
  registry.register(new TestService('b', log));
  registry.register(new TestService('c', log, 'init'));
  registry.register(new TestService('d', log));
  await assert.rejects(registry.start(), /c cannot start/);
  assert.deepEqual(log, ['init a', 'init b', 'terminate b', 'terminate a']);
});

test('a service that cannot stop does not keep the others from it', async () => {
  const log: string[] = [];
  const registry = new ServiceRegistry();
  registry.register(new TestService('a', log));
  registry.register(new TestService('b', log, 'shutdown'));
  await registry.start();
  await assert.rejects(registry.shutdown(false), /b cannot stop/);
  assert.deepEqual(log.slice(2), ['shutdown b', 'shutdown a']);
});

test('nothing is registered after start, and start happens once', async () => {
  const registry = new ServiceRegistry();
  await registry.start();
  assert.throws(() => registry.register(new TestService('late', [])), /after start/);
  await assert.rejects(registry.start(), /started twice/);
});

test('services are found by what they can do', () => {
  const registry = new ServiceRegistry();
  const able = new Replicating('able', []);
  registry.register(new TestService('plain', []));
  registry.register(able);
  assert.deepEqual(registry.withCapability(canMigrate), [able]);
});
