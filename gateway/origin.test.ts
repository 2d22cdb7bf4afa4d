import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OriginRefusal, originRefusal } from './origin.ts';

const TRUSTED = ['https://app.example.com', 'http://intranet:3000'];

const HOSTS: readonly [host: string | undefined, verdict: OriginRefusal | undefined][] = [
  ['localhost', undefined],
  ['localhost:8080', undefined],
  ['LOCALHOST:8080', undefined],
  ['127.0.0.1', undefined],
  ['127.0.0.1:8080', undefined],
  ['127.8.9.255:1', undefined],
  ['[::1]', undefined],
  ['[::1]:8080', undefined],
  [undefined, 'HOST_NOT_LOOPBACK'],
  ['', 'HOST_NOT_LOOPBACK'],
  ['localhost.evil.com', 'HOST_NOT_LOOPBACK'],
  ['localhost.evil.com:8080', 'HOST_NOT_LOOPBACK'],
  ['evil.com', 'HOST_NOT_LOOPBACK'],
  ['127.0.0.1.nip.io', 'HOST_NOT_LOOPBACK'],
  ['127.0.0.1.nip.io:8080', 'HOST_NOT_LOOPBACK'],
  ['notlocalhost', 'HOST_NOT_LOOPBACK'],
  ['localhost.', 'HOST_NOT_LOOPBACK'],
  ['0.0.0.0:8080', 'HOST_NOT_LOOPBACK'],
  ['127.0.0.256', 'HOST_NOT_LOOPBACK'],
  ['127.0.0.01', 'HOST_NOT_LOOPBACK'],
  ['127.1', 'HOST_NOT_LOOPBACK'],
  ['0x7f.0.0.1', 'HOST_NOT_LOOPBACK'],
  ['2130706433', 'HOST_NOT_LOOPBACK'],
  ['128.0.0.1', 'HOST_NOT_LOOPBACK'],
  ['192.168.1.2:8080', 'HOST_NOT_LOOPBACK'],
  ['localhost:8080@evil.com', 'HOST_NOT_LOOPBACK'],
  ['evil.com:80#localhost', 'HOST_NOT_LOOPBACK'],
  ['evil.com/localhost', 'HOST_NOT_LOOPBACK'],
  ['localhost,evil.com', 'HOST_NOT_LOOPBACK'],
  ['localhost evil.com', 'HOST_NOT_LOOPBACK'],
  ['[::1].evil.com', 'HOST_NOT_LOOPBACK'],
  ['[::2]:8080', 'HOST_NOT_LOOPBACK'],
  ['[::1]:', 'HOST_NOT_LOOPBACK'],
  ['localhost:http', 'HOST_NOT_LOOPBACK'],
];

for (const [host, verdict] of HOSTS) {
  test(`Host ${host === undefined ? 'missing' : `"${host}"`} is ${verdict === undefined ? 'let through' : 'refused'}`, () => {
    assert.equal(originRefusal({ origin: undefined, host }, TRUSTED), verdict);
    assert.equal(originRefusal({ origin: 'http://localhost:3000', host }, TRUSTED), verdict);
  });
}

const ORIGINS: readonly [origin: string | undefined, verdict: OriginRefusal | undefined][] = [
  [undefined, undefined],
  ['', undefined],
  ['http://localhost', undefined],
  ['http://localhost:3000', undefined],
  ['https://localhost:3000', undefined],
  ['http://127.0.0.1:5173', undefined],
  ['http://[::1]:5173', undefined],
  ['https://app.example.com', undefined],
  ['HTTPS://APP.EXAMPLE.COM', undefined],
  ['http://intranet:3000', undefined],
  ['null', 'ORIGIN_NOT_TRUSTED'],
  ['https://evil.com', 'ORIGIN_NOT_TRUSTED'],
  ['http://localhost.evil.com', 'ORIGIN_NOT_TRUSTED'],
  ['http://127.0.0.1.nip.io', 'ORIGIN_NOT_TRUSTED'],
  ['http://evil.com/http://localhost', 'ORIGIN_NOT_TRUSTED'],
  ['http://localhost@evil.com', 'ORIGIN_NOT_TRUSTED'],
  ['http://localhost:80@evil.com', 'ORIGIN_NOT_TRUSTED'],
  ['http://app.example.com', 'ORIGIN_NOT_TRUSTED'],
  ['https://app.example.com:8443', 'ORIGIN_NOT_TRUSTED'],
  ['https://app.example.com.evil.com', 'ORIGIN_NOT_TRUSTED'],
  ['http://intranet', 'ORIGIN_NOT_TRUSTED'],
  ['file://', 'ORIGIN_NOT_TRUSTED'],
  ['localhost', 'ORIGIN_NOT_TRUSTED'],
  ['ftp://localhost', 'ORIGIN_NOT_TRUSTED'],
  ['chrome-extension://localhost', 'ORIGIN_NOT_TRUSTED'],
  ['http://localhost https://evil.com', 'ORIGIN_NOT_TRUSTED'],
];

for (const [origin, verdict] of ORIGINS) {
  test(`Origin ${origin === undefined ? 'missing' : `"${origin}"`} is ${verdict === undefined ? 'let through' : 'refused'}`, () => {
    assert.equal(originRefusal({ origin, host: 'localhost:8080' }, TRUSTED), verdict);
  });
}

test('nothing but loopback is trusted where no origin is listed', () => {
  assert.equal(originRefusal({ origin: 'https://app.example.com', host: 'localhost' }, []), 'ORIGIN_NOT_TRUSTED');
});
