/** Splits the words after `lattice` into a command, flags with values and switches without. Names are judged later. */
import { nearestName } from '../engine/nearest-name.ts';
import { GridError } from '../engine/protocol/errors.ts';

const COMMANDS = ['start', 'config', 'wal', 'version', 'help'] as const;
/** The words that follow `wal`. */
const WAL_COMMANDS = ['inspect', 'repair'] as const;
type Command = Exclude<(typeof COMMANDS)[number], 'wal'> | `wal ${(typeof WAL_COMMANDS)[number]}`;

/** Flags without a value, by command. `config --origin` asks for what is shown anyway. */
const SWITCHES: { readonly [Name in Command]?: readonly string[] } = {
  config: ['--json', '--markdown', '--toml', '--origin'],
  'wal inspect': ['--json'],
  'wal repair': ['--accept-loss'],
};

export interface CommandLine {
  readonly command: Command;
  /** Text by flag, `--port`. A flag that is given twice keeps its last text. */
  readonly flags: ReadonlyMap<string, string>;
  readonly switches: ReadonlySet<string>;
}

/** Throws GridError CONFIG_INVALID for an unknown command, a flag without its value, or a word that belongs to nothing. */
export function parseCommandLine(words: readonly string[]): CommandLine {
  if (words.length === 0 || words.includes('--help') || words.includes('-h')) return bare('help');
  if (words[0] === '--version') return bare('version');
  const command = commandOf(words[0] ?? '', words[1] ?? '');
  const commandSwitches = SWITCHES[command] ?? [];
  const flags = new Map<string, string>();
  const switches = new Set<string>();
  for (let index = command.split(' ').length; index < words.length; index += 1) {
    const word = words[index] ?? '';
    if (!word.startsWith('--')) throw invalid(`"${word}" belongs to no flag; a value follows its flag: --port 8080`);
    const equals = word.indexOf('=');
    if (commandSwitches.includes(word)) switches.add(word);
    else if (equals > 0) flags.set(word.slice(0, equals), word.slice(equals + 1));
    else {
      index += 1;
      const value = words[index];
      if (value === undefined || value.startsWith('--')) throw invalid(`the flag ${word} needs a value`);
      flags.set(word, value);
    }
  }
  return { command, flags, switches };
}

function commandOf(word: string, next: string): Command {
  const command = COMMANDS.find((candidate) => candidate === word);
  if (command === undefined) throw invalid(`"${word}" is no command; the nearest is ${nearestName(word, COMMANDS)}`);
  if (command !== 'wal') return command;
  const action = WAL_COMMANDS.find((candidate) => candidate === next);
  if (action === undefined) throw invalid(`behind "wal" stands what to do: ${WAL_COMMANDS.join(' or ')}`);
  return `wal ${action}`;
}

function bare(command: Command): CommandLine {
  return { command, flags: new Map(), switches: new Set() };
}

function invalid(message: string): GridError {
  return new GridError('CONFIG_INVALID', message);
}
