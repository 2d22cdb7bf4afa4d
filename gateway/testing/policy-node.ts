/** For tests: a node in one thread under policies, and clients that pass them or do not. */
import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Policy } from '../../engine/domains/security/policy.ts';
import { OneThreadNode, type TestClient } from './one-thread-node.ts';

export function gatewayOf(node: OneThreadNode): OneThreadNode['gateways'][number] {
  const [gateway] = node.gateways;
  assert.ok(gateway);
  return gateway;
}

/** Carries everything to its end: scans answer in a later turn, and may be followed by another question. */
export async function settle(node: OneThreadNode): Promise<void> {
  for (let turn = 0; turn < SCANS_IN_A_ROW; turn++) {
    await node.pump();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await node.pump();
}

const SCANS_IN_A_ROW = 3;

/** Nodes made until garbage is collected: their shared memory, megabytes each, does not make V8 do it by itself. */
const NODES_KEPT = 10;
let nodes = 0;

export function newNode(takesRedis = false): Promise<OneThreadNode> {
  nodes += 1;
  if (nodes % NODES_KEPT === 0) collectGarbage();
  const config = { policyBypassSubjects: ['root'] };
  return OneThreadNode.create({ workers: 2, config, domains: { journal: 'on' }, takesRedis });
}

/** A client that passes all policies. */
export function rootOf(node: OneThreadNode): TestClient {
  const client = node.client();
  client.session.access = gatewayOf(node).accessControl.accessOf({ id: 'root', roles: [], claims: new Map(), expiresSeconds: 0 });
  return client;
}

export function define(node: OneThreadNode, policies: readonly Policy[], version: number): void {
  const known = new Set(node.definitions.of('policy').map(({ name }) => name));
  for (const policy of policies) {
    known.delete(policy.id);
    node.definitions.apply({ kind: 'policy', name: policy.id, version, body: JSON.stringify(policy), changedAtMs: 1 });
  }
  for (const name of known) node.definitions.apply({ kind: 'policy', name, version, body: undefined, changedAtMs: 1 });
  node.definitions.apply({ kind: 'policy', name: 'none', version, body: JSON.stringify(NONE), changedAtMs: 1 });
}

/** There is a policy, whatever is drawn. */
const NONE: Policy = { id: 'none', pattern: 'none', actions: ['read'], effect: 'deny' };

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  assert.ok(typeof collect === 'function');
  collect();
}
