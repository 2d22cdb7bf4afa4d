/** RELIABILITY.md as text: a table of the bars, then each with its proofs and with what is not proven. Pure. */
import type { JudgedBar, JudgedProof } from './bars.ts';

export function reliabilityPage(bars: readonly JudgedBar[]): string {
  const dates = bars.flatMap(({ proofs }) => proofs.flatMap(({ newest }) => (newest === undefined ? [] : [newest.date])));
  const newest = dates.sort().at(-1);
  const proven = bars.filter(({ state }) => state === 'proven').length;
  return [
    '# Reliability',
    '',
    'What Lattice promises when things break, how that is tried, and what came of it. Written by `npm run reliability` from',
    '[reliability/bars.json](reliability/bars.json) and [reliability/results.jsonl](reliability/results.jsonl); do not edit it.',
    '',
    `${proven} of ${bars.length} bars have all their proofs${newest === undefined ? '' : `; newest result ${newest.slice(0, 10)}`}. A proof counts as far as it was run: what is`,
    'missing to the full form of a bar stands below it as not proven.',
    '',
    '| Bar | Result | Proofs |',
    '|---|---|---|',
    ...bars.map((judged) => `| [${judged.bar.promise}](#${judged.bar.id}) | ${judged.state} | ${counts(judged)} |`),
    ...bars.flatMap(section),
    '',
    '## Run it',
    '',
    '```sh',
    'npm run chaos -- --fault kill --cycles 200      # prints its seed; --seed repeats it',
    'npm run soak -- --minutes 10',
    'npm run reliability -- --run                    # runs the test files above, then writes this page',
    '```',
    '',
    'A seed repeats all choices of a run; the moment at which a fault meets the server also hangs on the machine. A `+` behind a',
    'commit means that files differed from it.',
    '',
  ].join('\n');
}

function counts({ proofs }: JudgedBar): string {
  const proven = proofs.filter(({ state }) => state === 'proven').length;
  return `${proven} of ${proofs.length}`;
}

function section({ bar, proofs }: JudgedBar): string[] {
  return [
    '',
    `## ${bar.id}`,
    '',
    `${bar.promise}.`,
    '',
    `How: ${bar.how}. In full: ${bar.full}.`,
    '',
    '| Proof | Newest run | Clean since the last failure | Checked | Seed | Date | Commit | Node, cores | Result |',
    '|---|---|---|---|---|---|---|---|---|',
    ...proofs.map(row),
    ...(bar.open.length === 0 ? [] : ['', 'Not proven:', '', ...bar.open.map((text) => `* ${text}`)]),
  ];
}

function row({ proof, state, clean, newest }: JudgedProof): string {
  const name = proof.run.endsWith('.ts') ? `[${proof.run}](${proof.run})` : `\`npm run ${command(proof.run)}\``;
  if (newest === undefined) return `| ${name} | never | | | | | | | not proven: it was not run |`;
  const { amount, unit, failures, checked, seed, date, commit, node, cpus } = newest;
  const ran = `${amount} ${unit}${failures > 0 ? `, ${failures} failures` : ''}`;
  const goal = proof.goal === undefined ? '' : ` of ${proof.goal}`;
  const cells = [name, ran, `${clean}${goal}`, checked ?? '', seed ?? '', date.slice(0, 10), commit, `${node}, ${cpus}`, state];
  return `| ${cells.join(' | ')} |`;
}

/** `chaos kill` is run by `npm run chaos -- --fault kill`. */
function command(run: string): string {
  const [script = '', fault] = run.split(' ');
  return fault === undefined ? script : `${script} -- --fault ${fault}`;
}
