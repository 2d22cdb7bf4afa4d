/** What the struck node says about itself over HTTP, and waiting for it. */
import { setTimeout as delay } from 'node:timers/promises';

/** State of its storage; undefined while it does not answer. */
export async function storageState(port: number): Promise<string | undefined> {
  try {
    const answer: unknown = await (await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(3000) })).json();
    if (typeof answer !== 'object' || answer === null || !('storage' in answer)) return undefined;
    const { storage } = answer;
    if (typeof storage !== 'object' || storage === null || !('state' in storage)) return undefined;
    return String(storage.state);
  } catch {
    return undefined;
  }
}

/** True when storage is well again by the deadline. */
export async function storageHealed(port: number, deadlineMs: number): Promise<boolean> {
  return becomes(async () => (await storageState(port)) === 'normal', deadlineMs);
}

/** All metrics, summed over their labels, by name. */
export async function metricsOf(port: number): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(5000) })).text();
  const sums = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name = '', value = ''] = /^(\w+)(?:\{.*\})? (\S+)$/.exec(line) ?? [];
    if (name !== '') sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}

/** True when the condition holds by the deadline; asked every 20 ms. */
export async function becomes(condition: () => boolean | Promise<boolean>, deadlineMs: number): Promise<boolean> {
  const endsMs = performance.now() + deadlineMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() > endsMs) return false;
    await delay(20);
  }
}
