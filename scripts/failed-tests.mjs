/**
 * A reporter of node:test that keeps quiet until the end, then writes one JSON line for each test that failed:
 * { file, name, message }. scripts/test.mjs reads it from the file it names as the destination.
 */
import { relative } from 'node:path';

// biome-ignore lint/style/noDefaultExport: node:test takes a reporter by its default export
export default async function* failedTests(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:fail' || data.todo || data.skip) continue;
    const error = data.details?.error;
    if (error?.failureType === 'subtestsFailed') continue;
    const message = String(error?.cause?.message ?? error?.cause ?? error?.message ?? '');
    const file = data.file === undefined ? data.name : data.file;
    yield `${JSON.stringify({ file: relative(process.cwd(), file), name: data.name, message })}\n`;
  }
}
