/** What policies cost where there are none, counted: time on a busy machine says nothing. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { GrantScope } from './grant-scope.ts';
import { SubjectAccess } from './subject-access.ts';
import { OneThreadNode } from './testing/one-thread-node.ts';

/** Counts how often it is asked. */
class CountedAccess extends SubjectAccess {
  asked = 0;

  override get guard(): GrantScope | undefined {
    this.asked += 1;
    return undefined;
  }
}

const unguarded = (): CountedAccess => new CountedAccess({ version: 0, scopeOf: () => undefined, numberOf: () => 0 }, undefined);

test('without policies a frame of operations is asked for once, however many are in it, and so are its events per listener', async () => {
  const asked: number[][] = [];
  for (const count of [1, 500]) {
    const node = await OneThreadNode.create();
    const [writer, listener] = [node.client(), node.client()];
    const [ofWriter, ofListener] = [unguarded(), unguarded()];
    writer.session.access = ofWriter;
    listener.session.access = ofListener;
    const record = (index: number): object => ({
      value: index,
      timestamp: { millis: 1_700_000_000_000, counter: index, nodeId: 'n' },
    });
    writer.write(
      ...Array.from({ length: count }, (_, index) => ({ id: `${index}`, mapName: 'm', key: `k${index}`, record: record(index) })),
    );
    assert.equal(ofWriter.asked, 1, 'on the way in');
    await node.pump();
    assert.equal(listener.heard().length > 0, true);
    asked.push([ofWriter.asked, ofListener.asked]);
  }
  assert.deepEqual(asked[0], asked[1]);
});
