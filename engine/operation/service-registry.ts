/**
 * The services of one thread, by name and by capability. An instance, never a global: two engines share a process.
 *
 * Core services are registered first and cannot be replaced. Start runs in the order of registration, shutdown in
 * reverse, so that a service may lean on those before it.
 */
import { assert } from '../assert.ts';

/** What every service offers. */
export interface ManagedService {
  readonly name: string;
  /** Called once, before any operation. */
  init(): void;
  /** Drops all state as if just started (forced start, merge after a split). */
  reset(): void;
  /** Called once, after the last operation. `terminate` = do not wait for anything. */
  shutdown(terminate: boolean): Promise<void>;
}

/** Hooks of a service whose state moves with a partition. */
export interface MigrationAwareService {
  /** State of the partition, as records to be joined at the new owner. */
  prepareReplication(partition: number, replicaIndex: number): Iterable<Uint8Array>;
  beforeMigration(partition: number): void;
  commitMigration(partition: number): void;
  rollbackMigration(partition: number): void;
}

export class ServiceRegistry {
  readonly #services = new Map<string, ManagedService>();
  readonly #core = new Set<string>();
  #started = false;

  /** Registers a service that nobody may replace. Only before other services, and before start. */
  registerCore(service: ManagedService): void {
    assert(this.#services.size === this.#core.size, `core service ${service.name} registered after another service`);
    this.#core.add(service.name);
    this.register(service);
  }

  /** Registers or, for a service that is not core, replaces by name. Only before start. */
  register(service: ManagedService): void {
    assert(!this.#started, `service ${service.name} registered after start`);
    assert(
      !(this.#core.has(service.name) && this.#services.has(service.name)),
      `core service ${service.name} cannot be replaced`,
    );
    this.#services.delete(service.name);
    this.#services.set(service.name, service);
  }

  /** Starts all services, core first. A service that throws ends the start: those before it are shut down again. */
  async start(): Promise<void> {
    assert(!this.#started, 'registry started twice');
    this.#started = true;
    const running: ManagedService[] = [];
    try {
      for (const service of this.#services.values()) {
        service.init();
        running.push(service);
      }
    } catch (error) {
      await shutdownAll(running.reverse(), true);
      throw error;
    }
  }

  /** The service of that name, or undefined. */
  byName(name: string): ManagedService | undefined {
    return this.#services.get(name);
  }

  /** Every service that has the capability, in the order of registration. */
  withCapability<Capability>(
    has: (service: ManagedService) => service is ManagedService & Capability,
  ): (ManagedService & Capability)[] {
    return [...this.#services.values()].filter(has);
  }

  /** Names in the order of registration. */
  names(): string[] {
    return [...this.#services.keys()];
  }

  resetAll(): void {
    for (const service of this.#services.values()) service.reset();
  }

  /** Shuts down in reverse order; one that fails does not keep the others from it. Rejects with the first failure. */
  async shutdown(terminate: boolean): Promise<void> {
    await shutdownAll([...this.#services.values()].reverse(), terminate);
  }
}

async function shutdownAll(services: readonly ManagedService[], terminate: boolean): Promise<void> {
  const failures: unknown[] = [];
  for (const service of services) {
    try {
      await service.shutdown(terminate);
    } catch (error) {
      failures.push(error); // the rest is shut down all the same; the first failure is thrown below
    }
  }
  if (failures.length > 0) throw failures[0];
}
