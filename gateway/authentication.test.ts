import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { exportPKCS8, exportSPKI, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { GridError } from '../engine/protocol/errors.ts';
import { type AuthenticationOptions, Authenticator, type Principal, TOKEN_BYTES_MAX } from './authentication.ts';

const SECRET = 'a secret of more than thirty-two bytes, for tests';
const NOW_MS = 1_750_000_000_000;
const NOW_SECONDS = NOW_MS / 1000;
const GOOD: JWTPayload = { sub: 'ada', exp: NOW_SECONDS + 3600 };

type PrivateKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];
let privateKey: PrivateKey;
let strangersKey: PrivateKey;
let publicPem: string;
let privatePem: string;

before(async () => {
  const pair = await generateKeyPair('RS256', { extractable: true });
  privateKey = pair.privateKey;
  publicPem = await exportSPKI(pair.publicKey);
  privatePem = await exportPKCS8(pair.privateKey);
  strangersKey = (await generateKeyPair('RS256')).privateKey;
});

function authenticator(options: Partial<AuthenticationOptions> = {}): Promise<Authenticator> {
  return Authenticator.create({ jwtSecret: SECRET, jwtIssuer: undefined, jwtAudience: undefined, ...options });
}

function hs256(payload: JWTPayload, secret = SECRET, alg = 'HS256'): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));
}

function rs256(payload: JWTPayload, key = privateKey, alg = 'RS256'): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg }).sign(key);
}

async function verify(token: string, options?: Partial<AuthenticationOptions>): Promise<Principal> {
  return (await authenticator(options)).verify(token, NOW_MS);
}

async function refuses(token: string, options?: Partial<AuthenticationOptions>): Promise<void> {
  await assert.rejects(verify(token, options), (error) => {
    assert.ok(error instanceof GridError);
    assert.equal(error.code, 'UNAUTHENTICATED');
    assert.equal(error.message, 'Authentication failed');
    return true;
  });
}

test('a signed token names its principal and roles', async () => {
  assert.deepEqual(await verify(await hs256(GOOD)), {
    id: 'ada',
    roles: [],
    claims: new Map([['sub', 'ada']]),
    expiresSeconds: NOW_SECONDS + 3600,
  });
  const withRoles = await verify(await hs256({ ...GOOD, roles: ['admin', 'reader'] }));
  assert.deepEqual(withRoles.roles, ['admin', 'reader']);
});

test('without a secret nothing is required and no token is believed', async () => {
  assert.equal((await authenticator({ jwtSecret: undefined })).required, false);
  assert.equal((await authenticator()).required, true);
  await refuses(await hs256(GOOD), { jwtSecret: undefined });
});

test('a token of another secret or another key is refused', async () => {
  await refuses(await hs256(GOOD, `${SECRET}!`));
  await refuses(await rs256(GOOD, strangersKey), { jwtSecret: publicPem });
});

test('a token that was changed after it was signed is refused', async () => {
  const [header = '', payload = '', signature = ''] = (await hs256(GOOD)).split('.');
  const forged = Buffer.from(JSON.stringify({ ...GOOD, sub: 'eve' })).toString('base64url');
  assert.equal((await verify(`${header}.${payload}.${signature}`)).id, 'ada');
  await refuses(`${header}.${forged}.${signature}`);
  await refuses(`${header}.${payload}.`);
});

test('only the algorithm of the key is taken', async () => {
  await refuses(new UnsecuredJWT(GOOD).encode());
  await refuses(new UnsecuredJWT(GOOD).encode(), { jwtSecret: publicPem });
  await refuses(await hs256(GOOD, `${SECRET}${SECRET}`, 'HS512'), { jwtSecret: `${SECRET}${SECRET}` });
  await refuses(await rs256(GOOD, privateKey), { jwtSecret: SECRET });
  // The classic confusion: the public key, known to everybody, used as the secret of an HMAC.
  await refuses(await hs256(GOOD, publicPem), { jwtSecret: publicPem });
  await refuses(await hs256(GOOD, publicPem.trim()), { jwtSecret: publicPem });
});

test('RS256 works with a public key, also on one line with \\n between its lines', async () => {
  const token = await rs256(GOOD);
  assert.equal((await verify(token, { jwtSecret: publicPem })).id, 'ada');
  assert.equal((await verify(token, { jwtSecret: publicPem.trim().replaceAll('\n', '\\n') })).id, 'ada');
});

test('a PEM text that is no RSA public key is refused at start, without being printed', async () => {
  const broken = '-----BEGIN PUBLIC KEY-----\nbm90IGEga2V5\n-----END PUBLIC KEY-----';
  for (const jwtSecret of [privatePem, broken, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----']) {
    await assert.rejects(authenticator({ jwtSecret }), (error) => {
      assert.ok(error instanceof GridError);
      assert.equal(error.code, 'CONFIG_INVALID');
      assert.ok(!error.message.includes(jwtSecret.slice(30, 60)));
      return true;
    });
  }
});

test('exp is required, with a minute of leeway', async () => {
  await refuses(await hs256({ sub: 'ada' }));
  await refuses(await hs256({ sub: 'ada', exp: NOW_SECONDS - 61 }));
  assert.equal((await verify(await hs256({ sub: 'ada', exp: NOW_SECONDS - 59 }))).id, 'ada');
});

test('a token that is not yet valid is refused, with a minute of leeway', async () => {
  await refuses(await hs256({ ...GOOD, nbf: NOW_SECONDS + 61 }));
  assert.equal((await verify(await hs256({ ...GOOD, nbf: NOW_SECONDS + 59 }))).id, 'ada');
});

test('sub must be a text that is not empty, and roles a list of texts', async () => {
  await refuses(await hs256({ exp: NOW_SECONDS + 1 }));
  await refuses(await hs256({ ...GOOD, sub: '' }));
  await refuses(await hs256({ ...GOOD, sub: 7 as unknown as string }));
  await refuses(await hs256({ ...GOOD, roles: 'admin' }));
  await refuses(await hs256({ ...GOOD, roles: ['admin', 1] }));
});

test('issuer and audience are enforced when they are configured', async () => {
  const token = await hs256({ ...GOOD, iss: 'issuer', aud: ['grid', 'other'] });
  assert.equal((await verify(token, { jwtIssuer: 'issuer', jwtAudience: 'grid' })).id, 'ada');
  await refuses(token, { jwtIssuer: 'another' });
  await refuses(token, { jwtAudience: 'another' });
  await refuses(await hs256(GOOD), { jwtIssuer: 'issuer' });
  await refuses(await hs256(GOOD), { jwtAudience: 'grid' });
});

test('what is no token is refused, and a long one without being read', async () => {
  for (const token of ['', '.', 'a.b.c', 'a.b', '\u0000', '💥.💥.💥']) await refuses(token);
  await refuses(await hs256({ ...GOOD, filler: 'x'.repeat(TOKEN_BYTES_MAX) }));
  assert.equal((await verify(await hs256({ ...GOOD, filler: 'x'.repeat(4_000) }))).id, 'ada');
});
