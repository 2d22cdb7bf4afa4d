import assert from 'node:assert/strict';
import test from 'node:test';
import { plain } from '../engine/domains/testing/scanned-ops.ts';
import { decode, encode } from '../engine/protocol/codec.ts';
import { SignJWT } from 'jose';
import { SubjectAccess } from './subject-access.ts';
import { AuthenticationDesk } from './authentication-desk.ts';
import { Authenticator } from './authentication.ts';
import { DeviceIdentity } from './device-identity.ts';
import { type Session, SessionTable } from './session.ts';

const SECRET = 'a secret of more than thirty-two bytes, for tests';

type Sent = { type: string; userId?: string; deviceId?: string; deviceToken?: string; error?: string };

async function setUp(jwtSecret: string | undefined) {
  const sent: Sent[] = [];
  const log: string[] = [];
  const checks: Promise<unknown>[] = [];
  const authenticator = await Authenticator.create({ jwtSecret, jwtIssuer: undefined, jwtAudience: undefined });
  const verify = authenticator.verify.bind(authenticator);
  authenticator.verify = (token) => {
    const check = verify(token);
    checks.push(check);
    return check;
  };
  const desk = new AuthenticationDesk({
    authenticator,
    accessControl: { accessOf: () => SubjectAccess.FULL },
    devices: new DeviceIdentity(new Uint8Array(32)),
    send: (_session, frame) => void sent.push(plain(decode(frame)) as Sent),
    close: (_session, cause) => void log.push(`close ${cause}`),
    onRenewed: () => undefined,
    onReady: () => void log.push('ready'),
    onRefused: () => void log.push('refused'),
  });
  const table = new SessionTable(4);
  const session = table.open({ send: () => true, cork: () => {}, end: () => {}, bufferedBytes: () => 0 }, false, 0);
  assert.ok(session !== undefined);
  desk.onOpen(session);
  /** Resolves when the desk has heard about every token that it gave to be checked. */
  const settled = async (): Promise<void> => {
    await Promise.allSettled(checks);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { desk, sent, log, session, table, settled };
}

function say(desk: AuthenticationDesk, session: Session, message: object): void {
  desk.onFrame(session, encode(message).slice());
}

function token(secret = SECRET): Promise<string> {
  return new SignJWT({ sub: 'ada' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret));
}

test('without authentication a session is ready at once, and its device is bound once', async () => {
  const { desk, sent, log, session } = await setUp(undefined);
  assert.deepEqual([session.state, sent, log], ['ready', [], ['ready']]);
  desk.onDeviceHello(session, { type: 'DEVICE_HELLO' });
  desk.onDeviceHello(session, { type: 'DEVICE_HELLO' });
  assert.deepEqual(
    sent.map(({ type }) => type),
    ['DEVICE_ACK'],
  );
  assert.equal(session.deviceId, sent[0]?.deviceId);
});

test('without authentication a token is acknowledged once, not believed', async () => {
  const { desk, sent, session } = await setUp(undefined);
  desk.onLateAuth(session, { type: 'AUTH', token: 'anything' });
  desk.onLateAuth(session, { type: 'AUTH', token: 'anything' });
  assert.deepEqual(
    sent.map(({ type, userId }) => [type, userId]),
    [['AUTH_ACK', undefined]],
  );
});

test('a device token that was given is recognised, and no new one is sent then', async () => {
  const { desk, sent, session } = await setUp(undefined);
  desk.onDeviceHello(session, { type: 'DEVICE_HELLO' });
  const first = sent[0];
  const again = await setUp(undefined);
  again.desk.onDeviceHello(again.session, { type: 'DEVICE_HELLO', deviceToken: first?.deviceToken });
  assert.deepEqual(
    again.sent.map(({ type, deviceId, deviceToken }) => [type, deviceId, deviceToken]),
    [['DEVICE_ACK', first?.deviceId, undefined]],
  );
});

test('where authentication is required it is asked for first, and nothing but AUTH is heard', async () => {
  const { desk, sent, log, session } = await setUp(SECRET);
  say(desk, session, { type: 'DEVICE_HELLO' });
  say(desk, session, { type: 'OP_BATCH', payload: { ops: [] } });
  desk.onFrame(session, Uint8Array.of(0xc1));
  assert.deepEqual([sent.map(({ type }) => type), log, session.state], [['AUTH_REQUIRED'], [], 'unauthenticated']);
});

test('a good token opens the session once, also when it is sent twice', async () => {
  const { desk, sent, log, session, settled } = await setUp(SECRET);
  const good = await token();
  say(desk, session, { type: 'AUTH', token: good });
  say(desk, session, { type: 'AUTH', token: good });
  await settled();
  desk.onLateAuth(session, { type: 'AUTH', token: good });
  assert.deepEqual(
    sent.map(({ type, userId }) => [type, userId]),
    [
      ['AUTH_REQUIRED', undefined],
      ['AUTH_ACK', 'ada'],
    ],
  );
  assert.deepEqual([session.state, session.principal?.id, log], ['ready', 'ada', ['ready']]);
});

test('a bad token is refused with words that say nothing, and the connection closed', async () => {
  const { desk, sent, log, session, settled } = await setUp(SECRET);
  say(desk, session, { type: 'AUTH', token: await token(`${SECRET}!`) });
  await settled();
  assert.deepEqual(
    sent.map(({ type, error }) => [type, error]),
    [
      ['AUTH_REQUIRED', undefined],
      ['AUTH_FAIL', 'Authentication failed'],
    ],
  );
  assert.deepEqual(log, ['refused', 'close AUTH_FAILED']);
  assert.notEqual(session.state, 'ready');
});

test('a session that goes while its token is checked stays gone', async () => {
  const { desk, sent, log, session, table, settled } = await setUp(SECRET);
  say(desk, session, { type: 'AUTH', token: await token() });
  table.close(session);
  await settled();
  assert.deepEqual([session.state, sent.length, log], ['closed', 1, []]);
});
