/**
 * Writes what README.md has from elsewhere: the option table, from the options themselves, and the tables of ratios, from
 * bench/results.json: node scripts/readme.mjs (after a build)
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { ratioTables } from '../dist/bench/page/ratio-tables.js';
import { readResults } from '../dist/bench/page/results-store.js';

const README = fileURLToPath(new URL('../README.md', import.meta.url));
const CLI = fileURLToPath(new URL('../dist/gateway/cli.js', import.meta.url));
const RESULTS = fileURLToPath(new URL('../bench/results.json', import.meta.url));

const { status, stdout } = spawnSync(process.execPath, [CLI, 'config', '--markdown'], { encoding: 'utf8' });
if (status !== 0) {
  process.stderr.write('The options cannot be listed: run `npm run build` first.\n');
  process.exit(1);
}
const withOptions = replaced(readFileSync(README, 'utf8'), 'options', `\n${stdout}\n`);
writeFileSync(README, replaced(withOptions, 'ratios', `\n${ratioTables(readResults(RESULTS))}\n\n`));

/** @param {string} text @param {string} name @param {string} block what is to stand between the comments of that name */
function replaced(text, name, block) {
  const [begin, end] = [new RegExp(`<!-- ${name}: .* -->\\n`).exec(text), text.indexOf(`<!-- /${name} -->`)];
  if (begin === null || end < begin.index) {
    process.stderr.write(`README.md has lost the comments around its ${name}.\n`);
    process.exit(1);
  }
  return `${text.slice(0, begin.index + begin[0].length)}${block}${text.slice(end)}`;
}
