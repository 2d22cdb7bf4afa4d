/** Where the program is installed, and which version it is. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from '../engine/assert.ts';

/** The folder with our package.json, found upwards from this file: workers/ as a source, dist/workers/ when compiled. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    assert(dirname(folder) !== folder, 'no package.json above the program');
    folder = dirname(folder);
  }
  return folder;
}

/** The version of the program, as package.json says it. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageFolder(), 'package.json'), 'utf8'));
  assert(typeof manifest === 'object' && manifest !== null && 'version' in manifest, 'package.json has no version');
  return String(manifest.version);
}
