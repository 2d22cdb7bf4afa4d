/**
 * Looks at a write before it is joined: schemas, row rules. A map without a guard costs its writes one branch.
 */
import type { ErrorCode } from '../../protocol/errors.ts';
import type { RecordImage, RecordKind } from '../../storage/record.ts';

/** Why a write is refused for good. */
export interface WriteRefusal {
  readonly code: ErrorCode;
  /** What of the write is wrong, for its writer to read. Says nothing that the writer may not see. */
  readonly detail: string;
}

export interface WriteGuard {
  /**
   * Why this write may not be joined, or undefined. The image is valid during the call. Must not change the store.
   * `gateway` and `session` say who writes; 0 and 0: the server itself, or a door without sessions.
   */
  refusal(kind: RecordKind, image: RecordImage, gateway: number, session: number): WriteRefusal | undefined;
}

/** Who may guard a map. */
export type GuardName = 'schema' | 'policy';

/** One guard that asks all of them, in turn; undefined for none. */
export function oneGuard(guards: readonly WriteGuard[]): WriteGuard | undefined {
  if (guards.length < 2) return guards[0];
  return {
    refusal: (kind, image, gateway, session) => {
      for (const guard of guards) {
        const refusal = guard.refusal(kind, image, gateway, session);
        if (refusal !== undefined) return refusal;
      }
      return undefined;
    },
  };
}
