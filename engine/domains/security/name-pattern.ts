/**
 * Patterns of map, topic, lock and counter names: segments parted by `.`, as in docs/PROTOCOL.md §12.
 *
 *   `*` alone   every name            `orders.*`    one segment in its place       `orders.**`   any number of them, none too
 *
 * A name that ends the pattern's segments must end too. No backtracking: the positions that may be reached move along the
 * name in one pass, so that a pattern costs at most its segments times the name's.
 */

export type NameTest = (name: string) => boolean;

const ONE = '*';
const ANY = '**';

export function compilePattern(pattern: string): NameTest {
  if (pattern === ONE || pattern === ANY) return () => true;
  if (!pattern.includes(ONE)) return (name) => name === pattern;
  const segments = pattern.split('.');
  return (name) => matches(segments, name.split('.'));
}

function matches(pattern: readonly string[], name: readonly string[]): boolean {
  let reached = closure(pattern, [0]);
  for (const segment of name) {
    const next: number[] = [];
    for (const position of reached) {
      const wanted = pattern[position];
      if (wanted === ANY) next.push(position);
      else if (wanted === ONE || wanted === segment) next.push(position + 1);
    }
    reached = closure(pattern, next);
    if (reached.size === 0) return false;
  }
  return reached.has(pattern.length);
}

/** The positions and those behind `**`, which may stand for nothing. */
function closure(pattern: readonly string[], positions: readonly number[]): Set<number> {
  const reached = new Set<number>();
  for (let position of positions) {
    reached.add(position);
    while (pattern[position] === ANY) {
      position += 1;
      reached.add(position);
    }
  }
  return reached;
}
