import assert from 'node:assert/strict';
import test from 'node:test';
import { DefinitionRegistry } from './definition-registry.ts';
import { NodeAnswers } from './node-answers.ts';

test('the main thread answers what it can, and says by code what it cannot', async () => {
  const logged: object[] = [];
  let registry: DefinitionRegistry | undefined;
  const answers = new NodeAnswers({
    registry: () => registry,
    audit: () => undefined,
    gateways: async () => [{ sessions: [], slowOperations: [] }],
    log: (fields) => logged.push(fields),
  });
  const wish = { kind: 'schema', name: 'm', body: '{}', changedBy: 'ann' } as const;
  assert.deepEqual(await answers.answer({ ask: 'define', wish }), {
    error: { code: 'UNAVAILABLE', message: 'the node is starting' },
  });
  registry = await DefinitionRegistry.open(undefined, () => {});
  const defined = await answers.answer({ ask: 'define', wish });
  assert.deepEqual('definition' in defined && [defined.definition.name, defined.definition.version], ['m', 1]);
  const again = await answers.answer({ ask: 'define', wish: { ...wish, replaces: 0 } });
  assert.equal('error' in again && again.error.code, 'CONFLICT');
  const entry = { subject: 'ann', address: '::1', action: 'PUT schema', target: 'm' };
  assert.deepEqual(await answers.answer({ ask: 'auditBegin', entry }), { auditId: 0 });
  assert.deepEqual(logged, [{ audit: entry }]);
  assert.deepEqual(await answers.answer({ ask: 'auditRead', limit: 5, before: undefined }), { audit: [] });
  assert.deepEqual(await answers.answer({ ask: 'gateways' }), { gateways: [{ sessions: [], slowOperations: [] }] });
});
