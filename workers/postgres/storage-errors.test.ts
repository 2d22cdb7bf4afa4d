import assert from 'node:assert/strict';
import { test } from 'node:test';
import postgres from 'postgres';
import { GridError } from '../../engine/protocol/errors.ts';
import { describeTarget } from './connection.ts';
import { endsSession, storageError } from './storage-errors.ts';

function fromServer(code: string, severity = 'ERROR'): Error {
  // The type declares no constructor argument; the driver itself passes the fields of the message.
  return Reflect.construct(postgres.PostgresError, [{ message: 'm', code, severity }]);
}

function codeOf(error: unknown): string {
  const mapped = storageError(error);
  return mapped instanceof GridError ? mapped.code : 'as it was';
}

const ROWS = ['22001', '22003', '22021', '22P02', '22P05', '23502', '23514', '54000', '54001', 'P0001'];
const WORLD = [
  '08006',
  '25006',
  '28P01',
  '3D000',
  '40001',
  '40P01',
  '42P01',
  '53100',
  '53300',
  '55P03',
  '57014',
  '57P01',
  '58030',
  'XX000',
];

for (const code of ROWS) test(`SQLSTATE ${code} blames the rows`, () => assert.equal(codeOf(fromServer(code)), 'STORAGE_POISON'));
for (const code of WORLD)
  test(`SQLSTATE ${code} blames no row`, () => assert.equal(codeOf(fromServer(code)), 'STORAGE_UNAVAILABLE'));

test('errors of the network and of the driver mean that Postgres is away', () => {
  for (const code of [
    'ECONNREFUSED',
    'ENOENT',
    'EPIPE',
    'CONNECTION_CLOSED',
    'CONNECT_TIMEOUT',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ]) {
    assert.equal(codeOf(Object.assign(new Error('m'), { code })), 'STORAGE_UNAVAILABLE');
  }
});

test('a bug of ours stays what it is, and a GridError too', () => {
  const bug = new TypeError('x is not a function');
  assert.equal(storageError(bug), bug);
  const fenced = new GridError('STORAGE_FENCED', 'm');
  assert.equal(storageError(fenced), fenced);
});

test('fatal errors and shutdowns end the session, errors of a statement do not', () => {
  assert.equal(endsSession(fromServer('57P01', 'FATAL')), true);
  assert.equal(endsSession(fromServer('08006')), true);
  assert.equal(endsSession(fromServer('57014')), false);
  assert.equal(endsSession(fromServer('22P02')), false);
});

test('a target is described without its password', () => {
  assert.equal(describeTarget({ url: 'postgres://bob:s3cret@db.example:5433/app' }), 'postgres://db.example:5433/app');
  assert.doesNotMatch(describeTarget({ url: 'postgres://bob:s3c ret@@@' }), /s3c/);
});
