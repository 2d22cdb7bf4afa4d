import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeviceIdentity } from './device-identity.ts';

const SECRET = new Uint8Array(32).fill(7);
const devices = new DeviceIdentity(SECRET);

function mint(namespace: string): { deviceId: string; deviceToken: string } {
  const { deviceId, deviceToken } = devices.bind(undefined, namespace);
  assert.ok(deviceToken !== undefined);
  return { deviceId, deviceToken };
}

test('a device without a token gets a new id and a token that holds it', () => {
  const { deviceId, deviceToken } = mint('ada');
  assert.match(deviceToken, /^[0-9a-f-]{36}\.[0-9a-f]{64}$/);
  assert.ok(deviceToken.startsWith(`${deviceId}.`));
  assert.notEqual(mint('ada').deviceId, deviceId);
});

test('a token binds the same id again, also after a restart, and no new token is handed out', () => {
  const { deviceId, deviceToken } = mint('ada');
  assert.deepEqual(devices.bind(deviceToken, 'ada'), { deviceId });
  assert.deepEqual(new DeviceIdentity(SECRET.slice()).bind(deviceToken, 'ada'), { deviceId });
});

test('a token of another principal, another secret or a changed id gives a new id', () => {
  const { deviceId, deviceToken } = mint('ada');
  const proof = deviceToken.slice(37);
  const other = mint('ada').deviceId;
  const otherServer = new DeviceIdentity(new Uint8Array(32).fill(8));
  for (const binding of [
    devices.bind(deviceToken, 'eve'),
    devices.bind(deviceToken, ''),
    otherServer.bind(deviceToken, 'ada'),
    devices.bind(`${other}.${proof}`, 'ada'),
  ]) {
    assert.ok(binding.deviceToken !== undefined);
    assert.notEqual(binding.deviceId, deviceId);
    assert.notEqual(binding.deviceId, other);
  }
});

test('what is no token gives a new id and never throws', () => {
  const { deviceToken } = mint('');
  const wrong = [
    '',
    '.',
    'x',
    `${deviceToken} `,
    deviceToken.toUpperCase(),
    deviceToken.slice(0, -1),
    `${deviceToken}0`,
    '\u0000'.repeat(101),
  ];
  for (const token of wrong) assert.ok(devices.bind(token, '').deviceToken !== undefined, JSON.stringify(token));
});

test('a short secret is refused', () => {
  assert.throws(() => new DeviceIdentity(new Uint8Array(31)));
});
