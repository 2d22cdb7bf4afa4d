/**
 * Writes the option table of README.md anew, from the options themselves: node scripts/readme.mjs (after a build)
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const README = fileURLToPath(new URL('../README.md', import.meta.url));
const CLI = fileURLToPath(new URL('../dist/gateway/cli.js', import.meta.url));

const { status, stdout } = spawnSync(process.execPath, [CLI, 'config', '--markdown'], { encoding: 'utf8' });
if (status !== 0) {
  process.stderr.write('The options cannot be listed: run `npm run build` first.\n');
  process.exit(1);
}
const text = readFileSync(README, 'utf8');
const [begin, end] = [/<!-- options: .* -->\n/.exec(text), text.indexOf('<!-- /options -->')];
if (begin === null || end < begin.index) {
  process.stderr.write('README.md has lost the comments around its option table.\n');
  process.exit(1);
}
writeFileSync(README, `${text.slice(0, begin.index + begin[0].length)}\n${stdout}\n${text.slice(end)}`);
