/**
 * How many stories a property is tried with, and which: LATTICE_TEST_RUNS times as many as usual; LATTICE_TEST_SEED repeats a
 * run that failed (its seed stands in the report).
 */
export function propertyRuns(usual: number): { numRuns: number; seed?: number; includeErrorInReport: true } {
  const { LATTICE_TEST_RUNS: times = '1', LATTICE_TEST_SEED: seed } = process.env;
  return {
    numRuns: Math.ceil(usual * Number(times)),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    includeErrorInReport: true,
  };
}
