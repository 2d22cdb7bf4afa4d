/** For tests: an answer that must be there at once. */
import { assert } from '../../assert.ts';
import type { RequestAnswer } from '../../operation/request-handler.ts';

export function atOnce(answer: RequestAnswer): readonly Uint8Array[] {
  assert('length' in answer, 'the answer comes later');
  return answer;
}
