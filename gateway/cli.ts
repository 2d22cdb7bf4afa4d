#!/usr/bin/env node
/**
 * The command `lattice`. It settles the configuration before it loads the server, so that a mistake is told at once.
 *
 *   lattice start [flags]                              runs the server until SIGTERM or SIGINT
 *   lattice config [--json | --markdown | --toml]      effective values and their origins, or the list of options
 *   lattice wal inspect [--json]                       what is in the write-ahead log and what is wrong with it
 *   lattice wal repair [--accept-loss]                 the way out of damage in it
 *   lattice version · lattice --help
 *
 * Exit status: 0 done, 1 the server failed or the log is damaged, 2 the command or the configuration is wrong.
 */
import { homedir } from 'node:os';
import { CONFIG_FILE_ENV, CONFIG_FILE_FLAG, type ResolvedConfig, resolveConfig } from '../engine/config-resolution.ts';
import { configJson, configText, exampleToml, optionsHelp, optionsMarkdown } from '../engine/config-text.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { defaultDataDir, readConfigFile } from '../workers/config-file.ts';
import { packageVersion } from '../workers/package-folder.ts';
import { availableCores, gatewayThreads, workerThreads } from '../workers/thread-counts.ts';
import { type CommandLine, parseCommandLine } from './command-line.ts';

const USAGE = `Usage:
  lattice start [flags]        run the server until SIGTERM or SIGINT
  lattice config [flags]       show the effective values and where each came from
        --json                 as JSON
        --markdown             the table of all options
        --toml                 an example file with all options
  lattice wal inspect [flags]  show the files of the write-ahead log and what is wrong with them
        --json                 as JSON
  lattice wal repair [flags]   show what damage in the log has lost; no server may run
        --accept-loss          accept that loss, so that its partitions can be written to again
  lattice version
  lattice --help

A flag wins over the environment, that over the file, that over the preset, and that over the default.
The file is lattice.toml in this folder, or the one of --config FILE (LATTICE_CONFIG).

Flags (as --flag VALUE or --flag=VALUE) and variables:

`;

const CONFIG_ERROR_STATUS = 2;

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof GridError)) throw error;
  process.stderr.write(`lattice: ${error.message.replaceAll('\n', '\nlattice: ')}\n`);
  process.exitCode = error.code === 'CONFIG_INVALID' ? CONFIG_ERROR_STATUS : 1;
}

async function main(words: readonly string[]): Promise<void> {
  const line = parseCommandLine(words);
  switch (line.command) {
    case 'help':
      return print(USAGE + optionsHelp());
    case 'version':
      return print(`${packageVersion()}\n`);
    case 'config':
      return print(configAs(line));
    case 'wal inspect':
    case 'wal repair':
      return wal(line);
    case 'start':
      return start(settle(line));
  }
}

function print(text: string): void {
  process.stdout.write(text);
}

function configAs(line: CommandLine): string {
  if (line.switches.has('--markdown')) return optionsMarkdown();
  if (line.switches.has('--toml')) return exampleToml();
  const resolved = settle(line);
  return line.switches.has('--json') ? configJson(resolved) : configText(resolved);
}

async function wal(line: CommandLine): Promise<void> {
  const { dataDir } = settle(line).config;
  const { walInspect, walRepair } = await import('./wal-command.ts');
  const isInspect = line.command === 'wal inspect';
  const result = isInspect
    ? walInspect(dataDir, line.switches.has('--json'))
    : await walRepair(dataDir, line.switches.has('--accept-loss'));
  print(result.text);
  process.exitCode = result.status;
}

async function start({ config, warnings }: ResolvedConfig): Promise<void> {
  for (const warning of warnings) process.stderr.write(`lattice: ${warning}\n`);
  const { run } = await import('./main.ts');
  await run(config);
}

function settle(line: CommandLine): ResolvedConfig {
  const flags = new Map(line.flags);
  const named = flags.get(CONFIG_FILE_FLAG) ?? (process.env[CONFIG_FILE_ENV] || undefined);
  flags.delete(CONFIG_FILE_FLAG);
  const cores = availableCores();
  return resolveConfig({
    flags,
    env: process.env,
    file: readConfigFile(named, process.cwd()),
    machine: {
      dataDir: defaultDataDir({ uid: process.getuid?.() ?? -1, home: homedir(), xdgDataHome: process.env.XDG_DATA_HOME }),
      gatewayThreads: gatewayThreads(cores),
      workerThreads: (gateways) => workerThreads(cores, gateways),
    },
  });
}
