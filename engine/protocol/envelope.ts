/**
 * Records on the rings between gateways and workers. Everything is in place: a record is written into claimed ring
 * memory and read there. Words are 32-bit, little-endian as the machine has them (both ends are this process).
 *
 *   every record     word 0 type · word 1 call id · word 2 session · word 3 count or kind · word 4 body bytes · word 5 flags
 *                    words 6–7 deadline, f64 ms of the gateway's own monotonic clock (NaN = none) · then rows and body
 *
 *   gateway → worker
 *     OPS            count ops of packed-op.ts, back to back: those of a frame that this worker owns, or some of them.
 *                    FLAG_PERSIST: somebody waits until the ops are persisted
 *     REQUEST        kind says which; body is a MessagePack map. For everything that is not a plain write
 *     INTEREST       session = map id, flags 1 = some session listens to the map, 0 = none; body is the map's name
 *     CLOSED         the session is gone: what services keep for it may go too
 *   worker → gateway
 *     ACKS           count call ids follow, one word each: all ops of these calls here were handled. In the deadline's
 *                    place: the log sequence that holds them all. FLAG_PERSISTED: they are persisted already
 *     RESULT         like one ack, with exceptions: count pairs (ordinal, error number) of rejected ops follow, and perhaps a
 *                    MessagePack list of (ordinal, text): what is wrong with the op
 *     PERSISTED      all that was acknowledged with a log sequence up to the one in the deadline's place is persisted;
 *                    count = error number + 1 when what lies above it never will be, else 0
 *     REPLY          kind = error number + 1, or 0; body as the request's kind defines
 *     EVENTS         count rows of (origin session, map id, start, bytes), then the event maps, back to back
 *     PUSH           what a service tells a session (0 = the gateway) unasked; count = kind, body as the kind defines
 *
 * A call id names a slot of the gateway's call table and its generation, so that a late or repeated answer of a
 * replaced worker is recognised. FLAG_MORE marks a part of a call that more parts to the same worker follow.
 */

/** Type 0 belongs to the ring's chunks. */
export const RECORD_OPS = 1;
export const RECORD_REQUEST = 2;
export const RECORD_INTEREST = 3;
export const RECORD_CLOSED = 4;
export const RECORD_ACKS = 16;
export const RECORD_RESULT = 17;
export const RECORD_REPLY = 18;
export const RECORD_EVENTS = 19;
export const RECORD_PERSISTED = 20;
export const RECORD_PUSH = 21;

export const ENVELOPE_WORDS = 8;
export const ENVELOPE_BYTES = ENVELOPE_WORDS * 4;

/** Word positions in the envelope; DEADLINE_F64 counts in 64-bit floats. */
export const ENVELOPE = {
  TYPE: 0,
  CALL: 1,
  SESSION: 2,
  COUNT: 3,
  BODY_BYTES: 4,
  FLAGS: 5,
  DEADLINE_F64: 3,
  /** Of ACKS, RESULT and PERSISTED, which have no deadline. */
  SEQUENCE_F64: 3,
} as const;

/** More parts of the same call follow to the same worker: no ack yet. */
export const FLAG_MORE = 1;
/** RESULT: nothing of the call was applied here; the code of the only pair says why, and the client must send again. */
export const FLAG_REFUSED = 2;

/** OPS: the call waits for PERSISTED, so the log is to be synced as soon as it holds the batch. */
export const FLAG_PERSIST = 4;
/** ACKS, RESULT: what they answer is persisted already. */
export const FLAG_PERSISTED = 8;

export const EVENT_ROW_WORDS = 4;
export const EVENT_ROW = { ORIGIN: 0, MAP_ID: 1, START: 2, BYTES: 3 } as const;

/** Call id of records that nobody waits for. */
export const CALL_NONE = 0;

/**
 * Kinds of REQUEST, and of PUSH (PUSH_…, in the same ranges): sync 1–9, query 10–19, topics and locks 20–29, counters and
 * journal 30–39, records 40–49, security 50–59, administration 60–69, Redis commands 70–89.
 */
export const REQUEST_LEAVES = 1;
export const REQUEST_LEAF = 2;
export const REQUEST_OR_DIFF = 3;
export const REQUEST_OR_PUSH = 4;
export const REQUEST_QUERY_SUB = 10;
export const REQUEST_QUERY_UNSUB = 11;
export const REQUEST_QUERY_RUN = 12;
export const REQUEST_INDEXES = 13;
export const PUSH_QUERY = 10;
export const REQUEST_TOPIC_INTEREST = 20;
export const REQUEST_TOPIC_PUBLISH = 21;
export const REQUEST_TOPIC_ROLL = 22;
export const PUSH_TOPIC = 20;
export const REQUEST_LOCK = 23;
export const REQUEST_LOCK_RELEASE = 24;
export const REQUEST_LOCK_ROLL = 25;
export const REQUEST_FENCE = 26;
export const REQUEST_TOPIC_CENSUS = 27;
export const PUSH_LOCK_GRANTED = 21;
export const REQUEST_MAP_STATS = 60;
export const REQUEST_COUNTER_READ = 30;
export const REQUEST_COUNTER_SYNC = 31;
export const REQUEST_COUNTER_WATCH = 32;
export const REQUEST_COUNTER_LEAVE = 33;
export const PUSH_COUNTER = 30;
export const REQUEST_JOURNAL_READ = 34;
export const PUSH_JOURNAL = 31;

/** A gateway tells a scope: in the session's place its number; body is a byte of SCOPE_ flags, then the text of its grants. */
export const REQUEST_SCOPE = 50;
export const SCOPE_KNOWN = 1;
export const SCOPE_LISTENS = 2;
/** To the gateway: what sessions of a scope are to be told of a change (domains/security/scoped-events.ts). */
export const PUSH_SCOPED_EVENT = 50;

/** OPS: above the flags stands the writer's scope; rows with FLAG_JUDGED are judged by it. */
export const SCOPE_SHIFT = 8;
export const SCOPE_MAX = 2 ** 23 - 1;
export const REQUEST_RECORD_READ = 40;
export const REQUEST_RECORD_WRITE = 41;
export const REQUEST_RECORD_PAGE = 42;
/** Answered once everything that was merged here before it is persisted. */
export const REQUEST_PERSISTED = 43;
/** Redis commands of one connection: engine/domains/kv/command-batch.ts. */
export const REQUEST_COMMANDS = 70;
/** The same, all or nothing: when one of the first commands, which look whether watched keys are unchanged, says no, none is run. */
export const REQUEST_TRANSACTION = 71;
/** What is one over several workers: engine/domains/kv/joint-service.ts. */
export const REQUEST_ACT_HOLD = 72;
export const REQUEST_ACT_COMMIT = 73;
export const REQUEST_ACT_APPLY = 74;
export const REQUEST_ACT_RELEASE = 75;
export const REQUEST_ACT_ROLL = 76;
/** A step of a change of whole databases: engine/domains/kv/whole-acts.ts. */
export const REQUEST_ACT_WHOLE = 77;

/** A view of ring memory that both ends share; offsets are in bytes and 8-aligned at record starts. */
export interface RingMemory {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float64Array;
}

/** Fills the envelope of a record that starts at `at`. */
export function writeEnvelope(
  memory: RingMemory,
  at: number,
  type: number,
  call: number,
  session: number,
  count: number,
  bodyBytes: number,
  flags: number,
  deadlineMs: number,
): void {
  const words = memory.words;
  const word = at >> 2;
  words[word + ENVELOPE.TYPE] = type;
  words[word + ENVELOPE.CALL] = call;
  words[word + ENVELOPE.SESSION] = session;
  words[word + ENVELOPE.COUNT] = count;
  words[word + ENVELOPE.BODY_BYTES] = bodyBytes;
  words[word + ENVELOPE.FLAGS] = flags;
  memory.floats[(at >> 3) + ENVELOPE.DEADLINE_F64] = deadlineMs;
}
