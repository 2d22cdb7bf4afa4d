import { once } from 'node:events';
import test from 'node:test';
import { createDoorbellPorts, Doorbell } from './doorbell.ts';

const LIMIT = { timeout: 10_000 };

/** Resolves at the next ring. */
function nextWake(bell: Doorbell): Promise<void> {
  return new Promise((resolve) => bell.listen(resolve));
}

test('each end wakes the other', LIMIT, async () => {
  const ports = createDoorbellPorts();
  const here = new Doorbell(ports.a);
  const there = new Doorbell(ports.b);
  const woken = Promise.all([nextWake(here), nextWake(there)]);
  here.ring();
  there.ring();
  await woken;
  here.close();
  there.close();
});

test('a bell whose other end is gone can be rung, and is connected again to the thread that replaces it', LIMIT, async () => {
  const first = createDoorbellPorts();
  const bell = new Doorbell(first.a);
  const closed = once(first.a, 'close');
  first.b.close();
  await closed;
  bell.ring();

  const second = createDoorbellPorts();
  bell.connect(second.a);
  const successor = new Doorbell(second.b);
  const woken = nextWake(successor);
  bell.ring();
  await woken;
  const answered = nextWake(bell);
  successor.ring();
  await answered;
  bell.close();
});

test('a bell that is not connected yet, or hung up, does nothing', () => {
  const bell = new Doorbell();
  bell.ring();
  bell.close();
  bell.ring();
});
