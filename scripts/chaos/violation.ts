/**
 * One way in which a grid did not keep its word.
 *
 *   lost         acknowledged at a level that outlives the fault, and there is nothing, or an older write
 *   resurrected  a removal was acknowledged, and what it removed is back
 *   wrong value  the stamp of one write with the value of another
 *   unwritten    nobody wrote this
 */
export type ViolationKind = 'lost' | 'resurrected' | 'wrong value' | 'unwritten';

export interface Violation {
  readonly kind: ViolationKind;
  /** Map, or `counters`. */
  readonly place: string;
  /** Key, what was acknowledged and what is there. */
  readonly text: string;
}
