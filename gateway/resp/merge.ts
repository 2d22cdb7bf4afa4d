/** Makes one reply of those that several workers gave to their parts of a command. An error of one is the error of all. */
const CR = 0x0d;
const MINUS = 0x2d;
const encoder = new TextEncoder();
const latin1 = new TextDecoder('latin1');

export type MergeReplies = (replies: readonly Uint8Array[]) => Uint8Array;

/** Integers, added. */
export const mergeSum: MergeReplies = (replies) =>
  firstError(replies) ?? encoder.encode(`:${replies.reduce((sum, reply) => sum + numberIn(reply), 0)}\r\n`);

/** They all say the same. */
export const mergeFirst: MergeReplies = (replies) => firstError(replies) ?? replies[0] ?? new Uint8Array(0);

/** Lists (arrays, maps), behind one another. */
export const mergeConcat: MergeReplies = (replies) => {
  const error = firstError(replies);
  if (error !== undefined) return error;
  const count = replies.reduce((sum, reply) => sum + numberIn(reply), 0);
  const head = encoder.encode(`${String.fromCharCode(replies[0]?.[0] ?? 0x2a)}${count}\r\n`);
  return concat([head, ...replies.map((reply) => reply.subarray(lineEnd(reply, 0)))]);
};

/** Arrays of strings, behind one another, each string once: a map has records on several workers and one name. */
export const mergeUnique: MergeReplies = (replies) => {
  const error = firstError(replies);
  if (error !== undefined) return error;
  const unique = new Map<string, Uint8Array>();
  for (const reply of replies) for (const element of elementsOf(reply)) unique.set(latin1.decode(element), element);
  return concat([encoder.encode(`*${unique.size}\r\n`), ...unique.values()]);
};

/** One that is not null, by chance; null when all are. */
export function mergeAny(random: () => number): MergeReplies {
  return (replies) => {
    const error = firstError(replies);
    if (error !== undefined) return error;
    const found = replies.filter((reply) => !isNull(reply));
    return found[Math.floor(random() * found.length)] ?? replies[0] ?? new Uint8Array(0);
  };
}

/** Elements of arrays of strings, in the order that `order` gives: [reply, element] each. */
export function mergeSlots(order: readonly (readonly [reply: number, element: number])[]): MergeReplies {
  return (replies) => {
    const error = firstError(replies);
    if (error !== undefined) return error;
    const elements = replies.map(elementsOf);
    const parts = order.map(([reply, element]) => elements[reply]?.[element] ?? new Uint8Array(0));
    return concat([encoder.encode(`*${order.length}\r\n`), ...parts]);
  };
}

/** The elements of an array of strings and nulls, as they stand there. */
export function elementsOf(reply: Uint8Array): Uint8Array[] {
  const elements: Uint8Array[] = [];
  let at = lineEnd(reply, 0);
  while (at < reply.length) {
    const end = lineEnd(reply, at);
    const length = reply[at] === 0x24 ? numberIn(reply, at) : -1;
    const next = length < 0 ? end : end + length + 2;
    elements.push(reply.subarray(at, next));
    at = next;
  }
  return elements;
}

/** The numbers in an array of integers. */
export function integersOf(reply: Uint8Array): number[] {
  const numbers: number[] = [];
  for (let at = lineEnd(reply, 0); at < reply.length; at = lineEnd(reply, at)) numbers.push(numberIn(reply, at));
  return numbers;
}

function firstError(replies: readonly Uint8Array[]): Uint8Array | undefined {
  return replies.find((reply) => reply[0] === MINUS);
}

function isNull(reply: Uint8Array): boolean {
  return reply[0] === 0x5f || (reply[0] === 0x24 && reply[1] === MINUS);
}

/** Where the line that begins at `at` is over, its end included. */
function lineEnd(reply: Uint8Array, at: number): number {
  return reply.indexOf(CR, at) + 2;
}

/** The number in the line that begins at `at`, behind its first byte. */
function numberIn(reply: Uint8Array, at = 0): number {
  let value = 0;
  let index = at + 1;
  const isNegative = reply[index] === MINUS;
  if (isNegative) index += 1;
  for (; index < reply.length && reply[index] !== CR; index++) value = value * 10 + (reply[index] as number) - 0x30;
  return isNegative ? -value : value;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
