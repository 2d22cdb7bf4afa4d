/** For tests: keys that are made to have one hash, as an attacker makes them. */
import { fmix32, fnv1a, fnv1aUnit } from '../hash.ts';

/** 2^stages keys of ASCII with one FNV-1a hash: from where two texts lead to one state, two others lead to one again. */
export function alikeKeys(stages: number): string[] {
  let keys = [''];
  for (let stage = 0; stage < stages; stage++) {
    const [one, other] = meetingFrom(fnv1a(keys[0] ?? ''));
    keys = keys.flatMap((key) => [key + one, key + other]);
  }
  return keys;
}

/** Two texts that lead from the state to the same one: some 2^16 are tried. */
function meetingFrom(state: number): readonly [string, string] {
  const seen = new Map<number, string>();
  for (let number = 0; ; number++) {
    const text = fmix32(number).toString(36).padStart(7, '0');
    let hash = state;
    for (let index = 0; index < text.length; index++) hash = fnv1aUnit(hash, text.charCodeAt(index));
    const known = seen.get(hash);
    if (known !== undefined) return [known, text];
    seen.set(hash, text);
  }
}
