/** Writes bench/RESULTS.md and its plots from what is kept in bench/results.json. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../../workers/package-folder.ts';
import { PARTS } from '../parts.ts';
import { reasonMissing } from '../peer-packages.ts';
import type { Measured } from './measured.ts';
import { barsOf, drawPlot } from './plots.ts';
import { resultsPage } from './results-page.ts';
import { mergedResults, readResults, writeResults } from './results-store.ts';

/** Takes in what was just measured and writes the page anew; resolves with its path. */
export async function writePage(fresh: readonly Measured[], progress: (line: string) => void): Promise<string> {
  const folder = join(packageFolder(), 'bench');
  const store = join(folder, 'results.json');
  const measured = mergedResults(readResults(store), fresh, new Set(PARTS.flatMap(({ scenarios }) => scenarios)));
  writeResults(store, measured);
  const plots = await writePlots(join(folder, 'plots'), measured, progress);
  const page = join(folder, 'RESULTS.md');
  writeFileSync(page, `${resultsPage(PARTS, measured, plots).trimEnd()}\n`);
  return page;
}

async function writePlots(
  folder: string,
  measured: readonly Measured[],
  progress: (line: string) => void,
): Promise<Map<string, string>> {
  const plots = new Map<string, string>();
  const missing = await reasonMissing('vega');
  if (missing !== undefined) {
    progress(`no plots: ${missing}`);
    return plots;
  }
  mkdirSync(folder, { recursive: true });
  for (const { name, plot } of PARTS) {
    const ofPart = measured.filter(({ part }) => part === name);
    if (plot === undefined || barsOf(ofPart, plot).length === 0) continue;
    writeFileSync(join(folder, `${name}.svg`), await drawPlot(ofPart, plot));
    plots.set(name, `plots/${name}.svg`);
  }
  return plots;
}
