import assert from 'node:assert/strict';
import test from 'node:test';
import { UnreadReplies } from './unread-replies.ts';

const MIB = 1 << 20;

class Client {
  isGone = false;
  unreadBytes: number;

  constructor(unreadBytes: number) {
    this.unreadBytes = unreadBytes;
  }

  killSlow(): void {
    this.isGone = true;
  }
}

test('the connections with the most unread replies are closed when all have too many', () => {
  const clients = [40, 90, 100, 30].map((mib) => new Client(mib * MIB));
  const unread = new UnreadReplies(clients, 128 * MIB);
  unread.added(MIB);
  assert.deepEqual(
    clients.map(({ isGone }) => isGone),
    [false, false, false, false],
    'counted after some more only',
  );
  unread.added(9 * MIB);
  assert.deepEqual(
    clients.map(({ isGone }) => isGone),
    [false, true, true, false],
  );
  assert.ok(unread.isMuch, '70 of 128 MiB are unread');
  for (const client of clients) client.unreadBytes = 0;
  unread.count();
  assert.ok(!unread.isMuch);
});

test('little memory is enough for the replies of one client', () => {
  const client = new Client(60 * MIB);
  new UnreadReplies([client], 4096).count();
  assert.ok(!client.isGone);
});
