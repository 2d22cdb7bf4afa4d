/**
 * What a scanned frame is, as numbers. Types of message without one of their own are SCAN_OTHER and get decoded.
 */

/** Not one well-formed MessagePack value: the frame can not be decoded. */
export const SCAN_MALFORMED = 0;
/** Well formed, to be decoded: another type, or no message at all. */
export const SCAN_OTHER = 1;
export const SCAN_OP_BATCH = 2;
export const SCAN_CLIENT_OP = 3;
export const SCAN_PING = 4;

export type ScanResult =
  | typeof SCAN_MALFORMED
  | typeof SCAN_OTHER
  | typeof SCAN_OP_BATCH
  | typeof SCAN_CLIENT_OP
  | typeof SCAN_PING;
