/** The options as text: help, effective values with their origins, the table of the README, and the example file. */
import { assert } from './assert.ts';
import { type Config, type NamedOption, OPTIONS } from './config.ts';
import { PRESETS } from './config-presets.ts';
import { originText, type ResolvedConfig } from './config-resolution.ts';

/** One block an option: flag, variable, default, what it is, what turning it costs. */
export function optionsHelp(): string {
  return OPTIONS.map(helpOf).join('\n');
}

function helpOf(option: NamedOption): string {
  const lines = [`  ${option.flag} (${option.env.join(', ')})`, ...wrapped(option.about, 100)];
  lines.push(...wrapped(`Takes ${option.allowed}. Default: ${defaultText(option)}.`, 100));
  if (option.raise !== undefined) lines.push(...wrapped(`Raise: ${option.raise}`, 100));
  if (option.lower !== undefined) lines.push(...wrapped(`Lower: ${option.lower}`, 100));
  return `${lines.join('\n')}\n`;
}

/** `name = value  # origin`, one line an option. */
export function configText({ config, origins }: ResolvedConfig): string {
  const lines = OPTIONS.map((option) => [option.name, printed(option, config[option.name]), originOf(origins, option)] as const);
  const nameWidth = Math.max(...lines.map(([name]) => name.length));
  const valueWidth = Math.min(40, Math.max(...lines.map(([, value]) => value.length)));
  return lines.map(([name, value, origin]) => `${name.padEnd(nameWidth)}  ${value.padEnd(valueWidth)}  ${origin}\n`).join('');
}

/** The values by name, as data; a secret's is "(set)", one that is not set null. */
export function openSettings(config: Config): Record<string, unknown> {
  return Object.fromEntries(
    OPTIONS.map((option) => [
      option.name,
      option.secret === true && config[option.name] !== undefined ? SET : (config[option.name] ?? null),
    ]),
  );
}

/** The same as data: `{ port: { value, origin } }`. A secret's value is "(set)", one that is not set null. */
export function configJson({ config, origins }: ResolvedConfig): string {
  const values = openSettings(config);
  const entries = OPTIONS.map((option) => [option.name, { value: values[option.name], origin: originOf(origins, option) }]);
  return `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
}

function originOf(origins: ResolvedConfig['origins'], option: NamedOption): string {
  const origin = origins.get(option.name);
  assert(origin !== undefined, `${option.name} has no origin`);
  return originText(origin);
}

/** The option table of the README. */
export function optionsMarkdown(): string {
  const rows = OPTIONS.map((option) =>
    [
      `\`${option.flag}\``,
      option.env.map((name) => `\`${name}\``).join(', '),
      defaultText(option),
      `${option.about} Takes ${option.allowed}.`,
    ].join(' | '),
  );
  const presets = Object.entries(PRESETS).map(([name, values]) => {
    const changes = Object.entries(values).map(([option, value]) => `\`${option}\` ${String(value)}`);
    return `* \`${name}\`: ${changes.join(', ')}`;
  });
  const table = ['| Flag | Environment | Default | What it is |', '|---|---|---|---|', ...rows.map((row) => `| ${row} |`)];
  return `${[...table, '', 'Presets:', ...presets].join('\n')}\n`;
}

/** A TOML file that sets nothing: each option as a comment, with its default. */
export function exampleToml(): string {
  const sections = [...new Set(OPTIONS.map(({ section }) => section))];
  const head = [
    '# Lattice reads lattice.toml in the folder where it is started, or the file of --config.',
    '# A flag and the environment win over this file. Every line here shows the default; remove the # to change it.',
    '# Made by `lattice config --toml`.',
  ];
  const blocks = sections.map((section) => {
    const options = OPTIONS.filter((option) => option.section === section).map(tomlOf);
    return [`[${section}]`, ...options].join('\n\n');
  });
  return `${[head.join('\n'), ...blocks].join('\n\n')}\n`;
}

function tomlOf(option: NamedOption): string {
  const about = [option.about, `Takes ${option.allowed}.`];
  if (option.raise !== undefined) about.push(`Raise: ${option.raise}`);
  if (option.lower !== undefined) about.push(`Lower: ${option.lower}`);
  if (option.default === undefined || option.defaultText !== undefined) about.push(`Default: ${defaultText(option)}.`);
  const words = about.flatMap((sentence) => wrapped(sentence, 110)).map((line) => `# ${line.trim()}`);
  return [...words, `# ${option.name} = ${tomlDefault(option)}`].join('\n');
}

/** An option without a default shows what kind of value belongs there. */
function tomlDefault(option: NamedOption): string {
  return option.default === undefined || option.default === '' ? '"…"' : JSON.stringify(option.default);
}

const SET = '(set)';

/** A value as people read it; a secret never. */
function printed(option: NamedOption, value: Config[keyof Config]): string {
  if (value === undefined) return '(not set)';
  if (option.secret === true) return SET;
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return Array.isArray(value) ? value.join(',') || '(none)' : String(value);
}

function defaultText(option: NamedOption): string {
  if (option.defaultText !== undefined) return option.defaultText;
  const value = option.default;
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return 'not set';
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return String(value);
}

/** Lines of at most `width` characters, indented. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((text) => `      ${text}`);
}
