/**
 * Nothing before authentication: of every type of message that there is, golden or made up, nothing gets past the first door.
 *
 * A new message type is in this test as soon as it is in the table of types.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageFolder } from '../workers/package-folder.ts';
import { EVERY_TYPE, samplesOf } from './testing/every-message.ts';
import { OneThreadNode } from './testing/one-thread-node.ts';

const FIXTURES = join(packageFolder(), 'engine', 'protocol', 'fixtures');

function goldenOf(type: string): object[] {
  const golden = join(FIXTURES, `${type}.json`);
  return existsSync(golden) ? [JSON.parse(readFileSync(golden, 'utf8'))] : [];
}

for (const type of EVERY_TYPE) {
  if (type === 'AUTH') continue; // the one that is acted on
  test(`${type} before authentication reaches no worker and gets no answer`, async () => {
    const node = await OneThreadNode.create({ jwtSecret: 'a secret of at least thirty-two bytes' });
    const client = node.client();
    assert.deepEqual(
      client.heard().map((message) => message.type),
      ['AUTH_REQUIRED'],
    );
    for (const frame of [...samplesOf(type), ...goldenOf(type)]) client.say(frame);
    assert.equal(await node.drainWorker(0), 0, 'nothing is in the ring of the worker');
    await node.pump();
    assert.deepEqual(client.heard(), []);
    assert.equal(client.session.state, 'unauthenticated');
    client.leave();
    assert.equal(await node.drainWorker(0), 0, 'nor is its end told');
  });
}
