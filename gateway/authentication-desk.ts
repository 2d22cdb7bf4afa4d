/**
 * Who is it? AUTH, DEVICE_HELLO and their answers (docs/PROTOCOL.md §2).
 *
 *   required       AUTH_REQUIRED is the first frame out; nothing but AUTH is acted on; 10 s, then the door closes
 *   not required   ready at once; DEVICE_HELLO is answered, so that the client does not wait its 500 ms
 *
 *   token ends     AUTH_REQUIRED again; a newer token of the same subject goes on, none within the leeway ends the connection
 *
 * The client sends AUTH twice when the server asks for what it sent already: the same token again is ignored. What it sends
 * while its token is being checked is dropped, as before: it sends nothing then that it would not send again.
 */
import { decode, encode } from '../engine/protocol/codec.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { type ClientMessage, parseMessage } from '../engine/protocol/messages.ts';
import type { AccessControl } from './access-control.ts';
import { type Authenticator, LEEWAY_SECONDS, type Principal } from './authentication.ts';
import type { CloseCause } from './connection.ts';
import type { DeviceBinding, DeviceIdentity } from './device-identity.ts';
import type { Session } from './session.ts';
import type { SessionAccess } from './subject-access.ts';

const PROTOCOL_VERSION = 1;
/** Device tokens without a principal share this namespace. */
const ANONYMOUS = '';

type AuthMessage = Extract<ClientMessage, { type: 'AUTH' }>;

export interface DeskOptions {
  readonly authenticator: Authenticator;
  readonly accessControl: Pick<AccessControl, 'accessOf'>;
  readonly devices: DeviceIdentity;
  /** Sends a frame at once: the client waits for it. */
  readonly send: (session: Session, frame: Uint8Array) => void;
  readonly close: (session: Session, cause: CloseCause) => void;
  /** The session may act from now on. */
  readonly onReady: (session: Session) => void;
  /** The session proved itself with a newer token; `before` is what it might do until now. */
  readonly onRenewed: (session: Session, before: SessionAccess) => void;
  readonly onRefused: (session: Session, reason: string) => void;
}

/** Of a client that has not shown who it is nothing longer is looked at: an AUTH has two tokens. */
const AUTH_FRAME_BYTES_MAX = 32 << 10;

export class AuthenticationDesk {
  readonly #options: DeskOptions;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** Greets a new connection. */
  onOpen(session: Session): void {
    if (this.#options.authenticator.required) {
      this.#send(session, { type: 'AUTH_REQUIRED' });
      return;
    }
    session.access = this.#options.accessControl.accessOf(undefined);
    session.state = 'ready';
    this.#options.onReady(session);
  }

  /** A frame of a session that is not ready. */
  onFrame(session: Session, frame: Uint8Array): void {
    if (session.state !== 'unauthenticated' || frame.length > AUTH_FRAME_BYTES_MAX) return;
    const message = authMessage(frame);
    if (message === undefined) return;
    session.state = 'verifying';
    void this.#verify(session, message.token, message.deviceToken);
  }

  /** AUTH on a session that is ready: a repeat, a newer token of the same subject, or a client with a token at a server that asks for none. */
  onLateAuth(session: Session, message: AuthMessage): void {
    if (this.#options.authenticator.required) {
      if (message.token !== session.token && !session.isRenewing) void this.#renew(session, message.token);
    } else if (!session.acknowledged) this.#acknowledge(session, message.deviceToken);
  }

  /** A token that ends is asked for anew; when it has ended for every new connection, its connection ends too. @param nowMs wall clock. */
  checkExpiry(session: Session, nowMs: number): void {
    const endsMs = (session.principal?.expiresSeconds ?? Number.POSITIVE_INFINITY) * 1000;
    if (nowMs < endsMs) return;
    if (nowMs >= endsMs + LEEWAY_SECONDS * 1000) return this.#options.close(session, 'TOKEN_EXPIRED');
    if (session.toldExpiry) return;
    session.toldExpiry = true;
    this.#send(session, { type: 'AUTH_REQUIRED' });
  }

  /** Binds the device once per connection; later ones are ignored. */
  onDeviceHello(session: Session, message: ClientMessage | undefined): void {
    if (message?.type !== 'DEVICE_HELLO' || session.deviceId !== undefined) return;
    this.#send(session, { type: 'DEVICE_ACK', ...this.#bind(session, message.deviceToken) });
  }

  async #verify(session: Session, token: string, deviceToken: string | undefined): Promise<void> {
    try {
      const principal = await this.#options.authenticator.verify(token);
      if (!session.isOpen) return;
      this.#admit(session, principal, token);
      session.state = 'ready';
      this.#acknowledge(session, deviceToken);
      this.#options.onReady(session);
    } catch (error) {
      this.#refuse(session, error);
    }
  }

  /** The session goes on with what a newer token of the same subject says; any other ends it. */
  async #renew(session: Session, token: string): Promise<void> {
    session.isRenewing = true;
    try {
      const principal = await this.#options.authenticator.verify(token);
      if (!session.isOpen) return;
      if (principal.id !== session.principal?.id) throw new GridError('UNAUTHENTICATED', 'a token of another subject');
      const { access } = session;
      this.#admit(session, principal, token);
      this.#acknowledge(session, undefined);
      this.#options.onRenewed(session, access);
    } catch (error) {
      this.#refuse(session, error);
    } finally {
      session.isRenewing = false;
    }
  }

  #admit(session: Session, principal: Principal, token: string): void {
    session.principal = principal;
    session.token = token;
    session.toldExpiry = false;
    session.access = this.#options.accessControl.accessOf(principal);
  }

  #refuse(session: Session, error: unknown): void {
    if (!(error instanceof GridError)) throw error;
    if (!session.isOpen) return;
    this.#send(session, { type: 'AUTH_FAIL', error: 'Authentication failed' });
    this.#options.onRefused(session, error.message);
    this.#options.close(session, 'AUTH_FAILED');
  }

  #acknowledge(session: Session, presented: string | undefined): void {
    const { deviceId, deviceToken } = this.#bind(session, presented);
    session.acknowledged = true;
    this.#send(session, {
      type: 'AUTH_ACK',
      protocolVersion: PROTOCOL_VERSION,
      userId: session.principal?.id,
      deviceId,
      deviceToken,
    });
  }

  /** Names the device, once per connection. */
  #bind(session: Session, presented: string | undefined): DeviceBinding {
    if (session.deviceId !== undefined) return { deviceId: session.deviceId };
    const binding = this.#options.devices.bind(presented, session.principal?.id ?? ANONYMOUS);
    session.deviceId = binding.deviceId;
    return binding;
  }

  #send(session: Session, message: object): void {
    this.#options.send(session, encode(message).slice());
  }
}

function authMessage(frame: Uint8Array): AuthMessage | undefined {
  try {
    const message = parseMessage(decode(frame));
    return message?.type === 'AUTH' ? message : undefined;
  } catch (error) {
    if (error instanceof GridError) return undefined; // not even MessagePack: dropped like everything else before AUTH
    throw error;
  }
}
