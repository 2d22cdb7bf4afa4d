/** Numbers for people: on the terminal, on the page and in the README. */

/** Three significant digits, thousands as k, millions as M. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${(value / 1e3).toPrecision(3)}k`;
  return size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** Three significant digits of a time given in µs, in the unit that suits it. */
export function timeText(us: number): string {
  if (us >= 1e6) return `${digits(us / 1e6)} s`;
  return us >= 1000 ? `${digits(us / 1000)} ms` : `${digits(us)} µs`;
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
