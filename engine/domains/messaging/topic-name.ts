/** What may be the name of a topic, or of a lock: 1 to 256 of `A–Z a–z 0–9 _ . : / -`. Source: docs/PROTOCOL.md §8.1, §8.2. */

const NAME = /^[A-Za-z0-9_.:/-]{1,256}$/;

export function isTopicName(name: string): boolean {
  return NAME.test(name);
}
