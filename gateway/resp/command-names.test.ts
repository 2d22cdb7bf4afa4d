import assert from 'node:assert/strict';
import test from 'node:test';
import { commandNamed } from './command-names.ts';
import { COMMANDS_BY_NAME } from './command-router.ts';
import { CONNECTION_COMMANDS } from './connection-commands.ts';

function named(text: string) {
  const bytes = new TextEncoder().encode(`xx${text}yy`);
  return commandNamed(bytes, 2, bytes.length - 4);
}

test('every command is found by its name, in any mix of cases', () => {
  for (const name of [...CONNECTION_COMMANDS.keys(), ...COMMANDS_BY_NAME.keys()]) {
    for (const spelling of [name, name.toUpperCase(), name.slice(0, 1).toUpperCase() + name.slice(1)]) {
      const found = named(spelling);
      assert.equal(found?.name, name);
      assert.equal(found?.own, CONNECTION_COMMANDS.get(name));
      assert.equal(found?.ofWorkers, COMMANDS_BY_NAME.get(name));
    }
  }
});

test('what is no name of a command finds none', () => {
  for (const text of ['', 'ge', 'gett', 'sEt ', '\u0000get', 'GÉT', 'get\u0000', '[ET', 'x'.repeat(1000)]) {
    assert.equal(named(text), undefined, JSON.stringify(text));
  }
});
