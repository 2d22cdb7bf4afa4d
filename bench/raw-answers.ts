/**
 * What the raw server answers to each frame: bytes as Lattice would send them, made once.
 *
 *   any other path            OP_ACK                     a frame is a batch
 *   /counters/<hot|cold>      COUNTER_UPDATE             a frame is an increment; a hot counter's state names everyone who counts
 *   /redis/<command>/<n>      n replies in one frame     a frame is a pipeline of n commands
 */
import { encode } from '../engine/protocol/codec.ts';
import { CONNECTIONS, COUNTER_HEATS, type CounterHeat } from './counters/counter-speakers.ts';
import { COMMAND_NAMES, type CommandName, PIPELINES, REPLIES } from './resp/resp-commands.ts';

/** `{type: 'OP_ACK', payload: {lastId: '0', achievedLevel: 'MEMORY'}}`, with a lastId as wide as a real one. */
export const ACK = Buffer.from(
  'de0002a474797065a64f505f41434ba77061796c6f6164de0002a66c6173744964ac313030303030303030303030ad61636869657665644c6576656ca64d454d4f5259',
  'hex',
);

/** By path. */
export const RAW_ANSWERS: ReadonlyMap<string, Uint8Array> = new Map([
  ...COUNTER_HEATS.map((heat) => [rawCountersPath(heat), counterUpdate(heat)] as const),
  ...COMMAND_NAMES.flatMap((command) =>
    PIPELINES.map((pipeline) => [rawRedisPath(command, pipeline), Buffer.from(REPLIES[command].repeat(pipeline))] as const),
  ),
]);

export function rawCountersPath(heat: CounterHeat): string {
  return `/counters/${heat}`;
}

export function rawRedisPath(command: CommandName, pipeline: number): string {
  return `/redis/${command}/${pipeline}`;
}

function counterUpdate(heat: CounterHeat): Uint8Array {
  const nodes = Array.from({ length: heat === 'hot' ? CONNECTIONS : 1 }, (_, node) => `n-c1-${String(node).padStart(3, '0')}`);
  const positive = Object.fromEntries(nodes.map((node) => [node, 1000]));
  return encode({ type: 'COUNTER_UPDATE', payload: { name: 'c1-00000', state: { positive, negative: {} } } }).slice();
}
