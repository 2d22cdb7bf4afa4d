/** What joining asks of row rules; write-judge.ts answers. */
import type { RecordImage } from '../../storage/record.ts';
import type { GridMap } from './map-catalogue.ts';

/** Says by the row rules of its writer whether a write may be joined. */
export interface RowJudge {
  /**
   * JUDGED_ALLOWED: it may; the image may have been given another value. JUDGED_REPEAT: it has been joined before. Else an error
   * number; UNAVAILABLE when it can only be judged later. The image is valid during the call.
   */
  judge(map: GridMap, image: RecordImage, gateway: number, scope: number, nowMs: number): number;
}

export const JUDGED_ALLOWED = -1;
export const JUDGED_REPEAT = -2;
