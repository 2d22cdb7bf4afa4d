/**
 * The clock of a record as one text: what HTTP calls its entity tag.
 *
 *   millis ":" counter ":" node id, every byte of it outside A–Z a–z 0–9 . _ ~ - as %XX
 *
 * A node id is chosen by its client and may have quotes and line breaks in it; the text may not. Two records have the same
 * text only if they have the same clock.
 */
const PLAIN = /[A-Za-z0-9._~-]/;

export function stampText(millis: number, counter: number, source: Uint8Array, nodeStart: number, nodeBytes: number): string {
  let node = '';
  for (let at = nodeStart; at < nodeStart + nodeBytes; at++) {
    const byte = source[at] as number;
    const letter = String.fromCharCode(byte);
    node += PLAIN.test(letter) ? letter : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return `${millis}:${counter}:${node}`;
}
