/** In which order variants have their turn where what one leaves behind is felt by the next: another one begins each run. */

/** @param run counted from 1 */
export function rotated<T>(items: readonly T[], run: number): T[] {
  const first = (run - 1) % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}
