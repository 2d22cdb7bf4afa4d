/**
 * Gives devices a name that they keep, without keeping a list of them.
 *
 *   token = <uuid> . HMAC-SHA256(server's secret, namespace \n uuid) as 64 hexadecimal digits
 *
 * The uuid is the device's id, and the second half proves that this server gave it out in this namespace (the id of a
 * principal, '' where there is none), so a device cannot take the id of another one. Several connections may show the
 * same token.
 */
import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { assert } from '../engine/assert.ts';

const SECRET_BYTES_MIN = 32;

const TOKEN = /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.([0-9a-f]{64})$/;

export interface DeviceBinding {
  readonly deviceId: string;
  /** Only when the token is new: the device keeps it. */
  readonly deviceToken?: string;
}

export class DeviceIdentity {
  readonly #secret: Uint8Array;

  /** @param secret  at least 32 random bytes, the same ones after each start: with others every device gets a new name */
  constructor(secret: Uint8Array) {
    assert(secret.byteLength >= SECRET_BYTES_MIN, `device secret of ${secret.byteLength} bytes`);
    this.#secret = secret;
  }

  /** The id of a token of ours, or a new id with its token. A wrong token is no error: the device gets a new name. */
  bind(token: string | undefined, namespace: string): DeviceBinding {
    const known = this.#deviceIdOf(token ?? '', namespace);
    if (known !== undefined) return { deviceId: known };
    const deviceId = randomUUID();
    return { deviceId, deviceToken: `${deviceId}.${this.#proof(deviceId, namespace).toString('hex')}` };
  }

  #deviceIdOf(token: string, namespace: string): string | undefined {
    const [, deviceId, proof] = TOKEN.exec(token) ?? [];
    if (deviceId === undefined || proof === undefined) return undefined;
    return timingSafeEqual(Buffer.from(proof, 'hex'), this.#proof(deviceId, namespace)) ? deviceId : undefined;
  }

  #proof(deviceId: string, namespace: string): Buffer {
    return createHmac('sha256', this.#secret).update(`${namespace}\n${deviceId}`).digest();
  }
}
