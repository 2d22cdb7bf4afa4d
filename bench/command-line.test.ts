import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CommandLine, parseCommandLine } from './command-line.ts';

const PARTS = [
  { name: 'ingest', scenarios: ['F1', 'F10'] },
  { name: 'wal', scenarios: ['LOG'] },
];

function parsed(...words: string[]): CommandLine {
  const commandLine = parseCommandLine(words, PARTS, () => {});
  assert.ok(typeof commandLine !== 'string', String(commandLine));
  return commandLine;
}

test('without a word everything runs five times, in full, and writes the page', () => {
  const { parts, scenarios, runs, quick, isShort, page, json } = parsed();
  assert.deepEqual([[...parts], scenarios, runs], [['ingest', 'wal'], undefined, 5]);
  assert.deepEqual([quick, isShort, page, json], [false, false, true, false]);
});

test('a part runs whole, and a scenario brings its part with it', () => {
  assert.deepEqual([...parsed('wal').parts], ['wal']);
  assert.equal(parsed('wal').scenarios, undefined);
  const { parts, scenarios } = parsed('F10');
  assert.deepEqual([[...parts], [...(scenarios ?? [])]], [['ingest'], ['F10']]);
});

test('short runs, and fewer than five, are not what the page shows unless it is asked for', () => {
  for (const words of [['--quick'], ['--runs', '4']]) {
    const { isShort, page } = parsed(...words);
    assert.deepEqual([isShort, page], [true, false], words.join(' '));
    assert.equal(parsed(...words, '--page').page, true);
  }
  assert.equal(parsed('--runs', '7').isShort, false);
});

test('a word that means nothing and a number of runs that is none are refused, with what could be asked for', () => {
  assert.match(
    String(parseCommandLine(['F11'], PARTS, () => {})),
    /^unknown word 'F11'; parts: ingest wal; scenarios: F1 F10 LOG;/,
  );
  for (const runs of ['0', '2.5', '101', 'x'])
    assert.match(String(parseCommandLine(['--runs', runs], PARTS, () => {})), /1 to 100/);
  assert.match(String(parseCommandLine(['--runs'], PARTS, () => {})), /1 to 100/);
});
