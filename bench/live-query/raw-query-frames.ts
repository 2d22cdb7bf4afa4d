/**
 * What the raw server of W4 is told to pass on, in one frame:
 *
 *   u16 connection (0xffff: all) · u32 bytes · the message      one after the other, big-endian
 */
const ALL = 0xffff;
const HEAD_BYTES = 6;

export interface Passed {
  /** Number of a connection; undefined: all. */
  readonly connection: number | undefined;
  readonly message: Uint8Array;
}

export function rawFrame(passed: readonly Passed[]): Uint8Array {
  return Buffer.concat(
    passed.flatMap(({ connection, message }) => {
      const head = Buffer.alloc(HEAD_BYTES);
      head.writeUInt16BE(connection ?? ALL);
      head.writeUInt32BE(message.length, 2);
      return [head, message];
    }),
  );
}

export function forEachPassed(frame: Uint8Array, pass: (connection: number | undefined, message: Uint8Array) => void): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  for (let at = 0; at < frame.length; ) {
    const connection = view.getUint16(at);
    const end = at + HEAD_BYTES + view.getUint32(at + 2);
    pass(connection === ALL ? undefined : connection, frame.subarray(at + HEAD_BYTES, end));
    at = end;
  }
}
