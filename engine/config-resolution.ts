/**
 * Settles every option from its sources: flag > environment > file > preset > default, and tells where each came from.
 *
 * Nothing is guessed. A name that does not exist, in any source, and a value out of its range are problems, also where a
 * higher source would win; all of them are collected, so that one start shows every mistake. An empty variable of the
 * environment counts as not set, because shells and compose files write unset ones like that.
 */
import { CONFIG_SCHEMA, type Config, isConfig, type NamedOption, OPTIONS, type OptionName } from './config.ts';
import { PRESETS } from './config-presets.ts';
import { isLoopbackHost } from './loopback.ts';
import { nearestName } from './nearest-name.ts';
import { GridError } from './protocol/errors.ts';

export type OriginKind = 'flag' | 'environment' | 'file' | 'preset' | 'default' | 'automatic';

/** Where a value came from: `environment LATTICE_PORT`, `preset low-latency`, `default`. */
export interface Origin {
  readonly kind: OriginKind;
  /** Flag, variable, file or preset; '' for a default. */
  readonly detail: string;
}

/** What the machine gives where nothing is set. */
export interface Machine {
  readonly dataDir: string;
  readonly gatewayThreads: number;
  /** Workers beside that many gateways. */
  workerThreads(gateways: number): number;
}

export interface ConfigFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface ConfigSources {
  /** Text by flag, `--port`. */
  readonly flags: ReadonlyMap<string, string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file?: ConfigFile | undefined;
  readonly machine: Machine;
}

export interface ResolvedConfig {
  readonly config: Config;
  readonly origins: ReadonlyMap<OptionName, Origin>;
  /** Things that are allowed but hardly meant. */
  readonly warnings: readonly string[];
}

/** Names that begin like ours and are no options: the file to read (told by the command line), and what tests use. */
export const CONFIG_FILE_FLAG = '--config';
export const CONFIG_FILE_ENV = 'LATTICE_CONFIG';
const TEST_ENV_PREFIX = 'LATTICE_TEST_';

/** Throws GridError CONFIG_INVALID, whose message has one line for each problem. */
export function resolveConfig(sources: ConfigSources): ResolvedConfig {
  const problems: string[] = [];
  const given = new Map<OptionName, Given>();
  // The weakest source first: the next one writes over it.
  readFile(sources.file, given, problems);
  readEnvironment(sources.env, given, problems);
  readFlags(sources.flags, given, problems);
  if (problems.length > 0) throw invalid(problems);

  const { values, origins } = settle(given, sources.machine);
  if (!isConfig(values)) throw invalid([String(CONFIG_SCHEMA.safeParse(values).error)]);
  problems.push(...contradictions(values), ...faultProblems(values, sources.env.NODE_ENV));
  if (problems.length > 0) throw invalid(problems);
  return { config: values, origins, warnings: warningsOf(values) };
}

/** `environment LATTICE_PORT` */
export function originText(origin: Origin): string {
  return origin.detail === '' ? origin.kind : `${origin.kind} ${origin.detail}`;
}

interface Given {
  readonly value: unknown;
  readonly origin: Origin;
}

function readFile(file: ConfigFile | undefined, given: Map<OptionName, Given>, problems: string[]): void {
  if (file === undefined) return;
  for (const [section, table] of Object.entries(file.values)) {
    if (!isTable(table)) {
      problems.push(unknown(`${file.path}: ${section}`, section, fileKeys(), '"', '"'));
      continue;
    }
    if (!OPTIONS.some((option) => option.section === section)) {
      problems.push(unknown(`${file.path}: the table [${section}]`, section, sections(), '[', ']'));
      continue;
    }
    for (const [key, value] of Object.entries(table)) {
      const option = OPTIONS.find(({ name, section: home }) => name === key && home === section);
      const where = `${file.path}: ${section}.${key}`;
      if (option === undefined) problems.push(unknown(where, nearestKey(section, key), fileKeys(), '"', '"'));
      else accept(option, value, { kind: 'file', detail: file.path }, where, given, problems);
    }
  }
}

/** The key itself decides when it stands in another table. */
function nearestKey(section: string, key: string): string {
  const home = OPTIONS.find(({ name }) => name === key)?.section ?? section;
  return `${home}.${key}`;
}

function readEnvironment(env: ConfigSources['env'], given: Map<OptionName, Given>, problems: string[]): void {
  const known = [...OPTIONS.flatMap((option) => option.env), CONFIG_FILE_ENV];
  for (const [name, value] of Object.entries(env)) {
    const isOurs = name.startsWith('LATTICE_') && !name.startsWith(TEST_ENV_PREFIX);
    if (isOurs && value !== '' && !known.includes(name)) problems.push(unknown(`the variable ${name}`, name, known));
  }
  for (const option of OPTIONS) {
    const name = option.env.find((candidate) => (env[candidate] ?? '') !== '');
    const text = name === undefined ? undefined : env[name];
    if (name === undefined || text === undefined) continue;
    accept(option, option.fromText(text), { kind: 'environment', detail: name }, name, given, problems);
  }
}

function readFlags(flags: ConfigSources['flags'], given: Map<OptionName, Given>, problems: string[]): void {
  for (const [flag, text] of flags) {
    const option = OPTIONS.find((candidate) => candidate.flag === flag);
    const known = [...OPTIONS.map((candidate) => candidate.flag), CONFIG_FILE_FLAG];
    if (option === undefined) problems.push(unknown(`the flag ${flag}`, flag, known));
    else accept(option, option.fromText(text), { kind: 'flag', detail: flag }, flag, given, problems);
  }
}

function accept(
  option: NamedOption,
  value: unknown,
  origin: Origin,
  where: string,
  given: Map<OptionName, Given>,
  problems: string[],
): void {
  const words = option.schema.safeParse(value).success || origin.kind !== 'file' ? value : fromFileWord(option, value);
  const checked = option.schema.safeParse(words);
  if (checked.success) given.set(option.name, { value: checked.data, origin });
  else problems.push(`${where}: ${shown(option, value)} is not allowed; ${option.name} takes ${option.allowed}`);
}

/** The file may write a switch as the words that flags use; numbers in quotes stay wrong. */
function fromFileWord(option: NamedOption, value: unknown): unknown {
  return typeof value === 'string' && typeof option.default === 'boolean' ? option.fromText(value) : value;
}

interface Settled {
  readonly values: Record<string, unknown>;
  readonly origins: Map<OptionName, Origin>;
}

function settle(given: ReadonlyMap<OptionName, Given>, machine: Machine): Settled {
  const preset = presetOf(given);
  const values: Record<string, unknown> = {};
  const origins = new Map<OptionName, Origin>();
  const set = (name: OptionName, value: unknown, origin: Origin): void => {
    values[name] = value;
    origins.set(name, origin);
  };
  for (const option of OPTIONS) {
    const chosen = given.get(option.name) ?? fromPreset(option, preset) ?? { value: option.default, origin: DEFAULT };
    set(option.name, chosen.value, chosen.origin);
  }
  if (!given.has('dataDir')) set('dataDir', machine.dataDir, AUTOMATIC);
  const isFused = values.fused === true;
  if (values.gatewayThreads === 0) set('gatewayThreads', isFused ? 1 : machine.gatewayThreads, AUTOMATIC);
  if (values.workerThreads === 0)
    set('workerThreads', isFused ? 1 : machine.workerThreads(Number(values.gatewayThreads)), AUTOMATIC);
  return { values, origins };
}

const DEFAULT: Origin = { kind: 'default', detail: '' };
const AUTOMATIC: Origin = { kind: 'automatic', detail: '' };

function presetOf(given: ReadonlyMap<OptionName, Given>): keyof typeof PRESETS | undefined {
  const name = given.get('preset')?.value;
  return name === 'high-throughput' || name === 'low-latency' ? name : undefined;
}

function fromPreset(option: NamedOption, preset: keyof typeof PRESETS | undefined): Given | undefined {
  if (preset === undefined || !Object.hasOwn(PRESETS[preset], option.name)) return undefined;
  return { value: PRESETS[preset][option.name], origin: { kind: 'preset', detail: preset } };
}

/** Rules over more than one option. */
function contradictions(config: Config): string[] {
  const problems: string[] = [];
  if (config.jwtSecret === undefined && !isLoopbackHost(config.host)) {
    problems.push(
      `host ${config.host} is reachable from other machines, and there is no authentication: ` +
        'set JWT_SECRET (a secret of 32 bytes or more, or a public key in PEM form), or bind 127.0.0.1',
    );
  }
  if ((config.tlsCertFile === undefined) !== (config.tlsKeyFile === undefined))
    problems.push('tlsCertFile and tlsKeyFile need each other: set both, or none');
  if (config.fused && (config.gatewayThreads !== 1 || config.workerThreads !== 1)) {
    problems.push(
      `fused is one thread, but gatewayThreads is ${config.gatewayThreads} and workerThreads ${config.workerThreads}: ` +
        'set both to 1 (or leave them out), or turn fused off',
    );
  }
  if (config.sessionBufferBytesMax < config.frameBytesMax) {
    problems.push(
      `sessionBufferBytesMax ${config.sessionBufferBytesMax} cannot hold one frame: ` +
        `set it to frameBytesMax (${config.frameBytesMax}) or more`,
    );
  }
  if (config.heldBytesMax < config.sessionBufferBytesMax) {
    problems.push(
      `heldBytesMax ${config.heldBytesMax} is less than what one connection may hold: ` +
        `set it to sessionBufferBytesMax (${config.sessionBufferBytesMax}) or more`,
    );
  }
  return problems;
}

/** Options of the section that do nothing by themselves. */
const HARMLESS_FAULT_OPTIONS: readonly OptionName[] = ['faultInjection', 'faultSeed', 'faultLogEvents'];

/** Faults are never injected where it was not meant, and never meant in vain. */
function faultProblems(config: Config, nodeEnv: string | undefined): string[] {
  if (config.faultInjection) {
    return nodeEnv === 'production' ? ['faultInjection is refused while NODE_ENV is production: turn one of them off'] : [];
  }
  return OPTIONS.filter(
    ({ name, section, default: value }) =>
      section === 'faults' && !HARMLESS_FAULT_OPTIONS.includes(name) && config[name] !== value,
  ).map(({ name }) => `${name} is set and does nothing: turn faultInjection on`);
}

/** RFC 7518 §3.2: a key of HS256 has at least the size of its hash. */
const SECRET_BYTES_MIN = 32;

function warningsOf(config: Config): string[] {
  const warnings: string[] = [];
  const { jwtSecret } = config;
  if (jwtSecret !== undefined && jwtSecret.length < SECRET_BYTES_MIN) {
    warnings.push(`jwtSecret has ${jwtSecret.length} characters: one of fewer than ${SECRET_BYTES_MIN} bytes can be guessed`);
  }
  if (jwtSecret !== undefined && config.trustedOrigins.length > 0) {
    warnings.push('trustedOrigins does nothing while jwtSecret is set: a page needs a token, whatever its origin');
  }
  if (config.faultInjection) warnings.push('faultInjection is on: things go wrong on purpose');
  if (config.store === 'none') warnings.push('store is none: everything is gone when the process ends');
  return warnings;
}

function unknown(what: string, name: string, known: readonly string[], before = '', after = ''): string {
  return `${what} is unknown; the nearest name is ${before}${nearestName(name, known) ?? ''}${after}`;
}

function shown(option: NamedOption, value: unknown): string {
  if (option.secret === true) return 'the value (not shown)';
  return JSON.stringify(value) ?? String(value);
}

function fileKeys(): string[] {
  return OPTIONS.map(({ section, name }) => `${section}.${name}`);
}

function sections(): string[] {
  return [...new Set(OPTIONS.map(({ section }) => section))];
}

function isTable(value: unknown): value is Record<string, unknown> {
  return Object.prototype.toString.call(value) === '[object Object]'; // not an array, not a date
}

function invalid(problems: readonly string[]): GridError {
  return new GridError('CONFIG_INVALID', problems.join('\n'));
}
