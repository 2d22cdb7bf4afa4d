/** Three significant digits, thousands as k, millions as M. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${(value / 1e3).toPrecision(3)}k`;
  return size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
