/** The document of the API beside what is served: every route is in it, and every documented one answers. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { SharedNode } from '../testing/shared-node.ts';

const node = new SharedNode();

interface Operation {
  readonly requestBody?: { readonly content: Record<string, unknown> };
  readonly parameters?: readonly { readonly in: string; readonly name: string; readonly required?: boolean }[];
  readonly responses: Record<string, unknown>;
}

const METHODS = ['get', 'put', 'post', 'delete'] as const;

async function document(): Promise<{
  openapi: string;
  paths: Record<string, Partial<Record<(typeof METHODS)[number], Operation>>>;
}> {
  return JSON.parse(await (await fetch(`http://127.0.0.1:${node.port}/api/openapi.json`)).text());
}

test('every documented route answers as one of its answers says, and has the methods that it names', async () => {
  const { openapi, paths } = await document();
  assert.equal(openapi, '3.1.0');
  assert.ok(Object.keys(paths).length >= 10);
  for (const [path, item] of Object.entries(paths)) {
    const url = `http://127.0.0.1:${node.port}${path.replaceAll(/\{\w+\}/g, 'x')}`;
    const documented = METHODS.filter((method) => item[method] !== undefined);
    const options = await fetch(url, { method: 'OPTIONS' });
    const allowed = (options.headers.get('allow') ?? '').toLowerCase().split(', ');
    assert.deepEqual(allowed.filter((method) => method !== 'head' && method !== 'options').sort(), [...documented].sort(), path);
    for (const method of documented) {
      const operation = item[method] ?? assert.fail();
      const abort = new AbortController();
      const [type] = Object.keys(operation.requestBody?.content ?? {});
      const response = await fetch(url, {
        method,
        signal: abort.signal,
        ...(type === undefined ? {} : { body: type.includes('json') ? '{}' : '', headers: { 'content-type': type } }),
      });
      const { status } = response;
      abort.abort(); // one that streams would not end
      assert.ok(String(status) in operation.responses || status === 400, `${method} ${path} answered ${status}`);
    }
  }
});

test('parameters come from the schemas that judge them', async () => {
  const { paths } = await document();
  const names = (path: string, method: 'get' | 'put'): string[] =>
    (paths[path]?.[method]?.parameters ?? []).filter((one) => one.in === 'query').map(({ name }) => name);
  assert.deepEqual(names('/maps/{map}/{key}', 'put'), ['ttlMs', 'level']);
  for (const name of names('/maps/{map}', 'get')) {
    const response = await fetch(`http://127.0.0.1:${node.port}/maps/m?${name}=%00nonsense`);
    assert.equal(response.status, 400, `${name} is judged`);
  }
});
