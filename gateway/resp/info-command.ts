/** INFO: what the server is and how it does, section by section, as clients of Redis read it. */
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RecoveryState } from '../../engine/storage/recovery-state.ts';
import { REDIS_VERSION } from './auth-commands.ts';
import { seesDatabase } from './command-rights.ts';
import { countKeys } from './keyspace.ts';
import type { RespConnection } from './resp-connection.ts';
import { DATABASES } from '../../engine/domains/kv/command.ts';

type Section = (connection: RespConnection) => readonly (readonly [string, string | number])[];

const RECOVERY_BY_TROUBLE: readonly RecoveryState[] = ['normal', 'recovering', 'degraded', 'failed'];

const SECTIONS: ReadonlyMap<string, Section> = new Map<string, Section>([
  ['server', server],
  ['clients', clients],
  ['memory', memory],
  ['persistence', persistence],
  ['stats', stats],
  [
    'replication',
    () => [
      ['role', 'master'],
      ['connected_slaves', 0],
    ],
  ],
  ['cpu', cpu],
  ['cluster', () => [['cluster_enabled', 0]]],
]);
const ALL = new Set(['all', 'default', 'everything']);

/** Keys are counted by the workers, so the reply comes later. */
export function infoCommand(connection: RespConnection, args: RespCommand, out: RespWriter): void {
  const asked = new Set<string>();
  for (let index = 1; index < args.count; index++) asked.add(args.text(index).toLowerCase());
  const wants = (name: string): boolean => asked.size === 0 || asked.has(name) || [...ALL].some((word) => asked.has(word));
  const texts: string[] = [];
  for (const [name, section] of SECTIONS) if (wants(name)) texts.push(sectionText(name, section(connection)));
  if (!wants('keyspace')) return out.verbatim(texts.join('\r\n'));
  connection.alone(async (later) => {
    texts.push(sectionText('keyspace', await keyspace(connection)));
    later.verbatim(texts.join('\r\n'));
  });
}

function sectionText(name: string, lines: readonly (readonly [string, string | number])[]): string {
  const title = `# ${name.charAt(0).toUpperCase()}${name.slice(1)}\r\n`;
  return title + lines.map(([key, value]) => `${key}:${value}\r\n`).join('');
}

function server({ context }: RespConnection): [string, string | number][] {
  const uptime = Math.max(0, Math.floor((Date.now() - context.facts.startedMs()) / 1000));
  return [
    ['redis_version', REDIS_VERSION],
    ['redis_mode', 'standalone'],
    ['server_name', 'lattice'],
    ['lattice_version', context.version],
    ['os', `${process.platform} ${process.arch}`],
    ['process_id', process.pid],
    ['tcp_port', context.config.respPort],
    ['uptime_in_seconds', uptime],
    ['uptime_in_days', Math.floor(uptime / 86_400)],
  ];
}

function clients({ context }: RespConnection): [string, string | number][] {
  const all = [...context.connections];
  return [
    ['connected_clients', all.length],
    ['maxclients', context.config.maxSessions],
    ['blocked_clients', 0],
    ['pubsub_clients', all.filter(({ isSubscriber }) => isSubscriber).length],
  ];
}

function memory({ context }: RespConnection): [string, string | number][] {
  const { rss } = process.memoryUsage();
  return [
    ['used_memory', context.facts.memoryBytes()],
    ['used_memory_rss', rss],
    ['maxmemory', context.facts.memoryMaxBytes()],
    ['maxmemory_policy', 'noeviction'],
  ];
}

function persistence({ context }: RespConnection): [string, string | number][] {
  const { config, facts } = context;
  return [
    ['loading', facts.isLoading() ? 1 : 0],
    ['aof_enabled', config.wal && config.store === 'write-behind' ? 1 : 0],
    ['lattice_store', config.store],
  ];
}

function stats({ context }: RespConnection): [string, string | number][] {
  const { counters, facts } = context;
  return [
    ['total_connections_received', counters.respConnections],
    ['total_commands_processed', facts.commands()],
    ['rejected_connections', counters.connectionsRefused],
    ['recovery_state', worstRecovery(facts.recovery())],
    ...facts.recovery().map((state, worker): [string, string] => [`recovery_state_worker_${worker}`, state]),
  ];
}

/** Of all workers, the one in most trouble. */
function worstRecovery(states: readonly RecoveryState[]): RecoveryState {
  return RECOVERY_BY_TROUBLE.findLast((state) => states.includes(state)) ?? 'normal';
}

function cpu(): [string, string | number][] {
  const { user, system } = process.cpuUsage();
  return [
    ['used_cpu_sys', (system / 1e6).toFixed(6)],
    ['used_cpu_user', (user / 1e6).toFixed(6)],
  ];
}

/** Databases with keys, of those that the client may read. */
async function keyspace(connection: RespConnection): Promise<[string, string | number][]> {
  const counts = await countKeys(connection.context);
  const lines: [string, string | number][] = [];
  for (let db = 0; db < DATABASES; db++) {
    const [keys = 0, expires = 0] = counts[db] ?? [];
    if (keys > 0 && seesDatabase(connection.access, db)) lines.push([`db${db}`, `keys=${keys},expires=${expires},avg_ttl=0`]);
  }
  return lines;
}
