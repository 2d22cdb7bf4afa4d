/** The HTTP side of a gateway, wired from the configuration. */
import type { Config } from '../../engine/config.ts';
import { openSettings } from '../../engine/config-text.ts';
import type { GridMemory } from '../../workers/grid-memory.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { HttpDoor } from './http-door.ts';
import { RequestRate } from './request-rate.ts';
import { allRoutes } from './routes.ts';
import type { HttpOptions } from './serve-http.ts';
import { Subjects } from './subjects.ts';
import { UnreadAnswers } from './unread-answers.ts';

/** What the thread gives. */
export interface HttpParts {
  readonly memory: GridMemory;
  /** Of the program. */
  readonly version: string;
  /** Why a request is refused, as an HTTP status line, or undefined. */
  readonly refuses: (origin: string, host: string) => string | undefined;
  /** The grid behind the routes; undefined while the node does not serve. */
  readonly door: () => HttpDoor | undefined;
  /** Told of errors in a handler, for the log. */
  readonly onFailure: (error: unknown, path: string) => void;
  /** Wall clock, in ms. */
  readonly nowMs?: () => number;
}

export function httpOptions(config: Config, parts: HttpParts): HttpOptions {
  const { memory, version, refuses, onFailure, nowMs = Date.now } = parts;
  const authRequired = config.jwtSecret !== undefined;
  const rate = new RequestRate(config.rateOpsPerSecond, config.rateBurstOps);
  const steadyMs = (): number => performance.now();
  const door = (): HttpDoor => {
    const open = parts.door();
    if (open === undefined) throw new GridError('UNAVAILABLE', 'the server does not serve any more');
    return open;
  };
  return {
    routes: allRoutes({
      ...config,
      settings: openSettings(config),
      memory,
      version,
      authRequired,
      nowMs,
      bodyBytesMax: config.frameBytesMax,
      door,
    }),
    subjects: new Subjects({ authRequired, anonymous: config.httpAnonymous, rate, door: parts.door, steadyMs }),
    cors: { trustedOrigins: config.trustedOrigins, authRequired },
    refuses,
    onFailure,
    deadlineMs: config.requestTimeoutMs,
    unread: new UnreadAnswers(config.heldBytesMax),
  };
}
