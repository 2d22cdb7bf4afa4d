/**
 * What every operation passes before its handler, outermost first. What is off is not there.
 *
 *   authentication ─ deadline ─ (load shed) ─ admission ─ circuit breaker ─ partition routing ─ (event listener) ─ (metrics)
 */
import { admission } from '../engine/operation/interceptors/admission.ts';
import { authentication } from '../engine/operation/interceptors/authentication.ts';
import { circuitBreaker } from '../engine/operation/interceptors/circuit-breaker.ts';
import { deadline } from '../engine/operation/interceptors/deadline.ts';
import { eventListener } from '../engine/operation/interceptors/event-listener.ts';
import { loadShed } from '../engine/operation/interceptors/load-shed.ts';
import { metrics } from '../engine/operation/interceptors/metrics.ts';
import { partitionRouting } from '../engine/operation/interceptors/partition-routing.ts';
import type { Layer } from '../engine/operation/layers.ts';
import { type CallStatus, type Operation, OPERATIONS } from '../engine/operation/operation.ts';
import type { DispatcherOptions } from './dispatcher.ts';
import type { Session } from './session.ts';

/** What the layers ask, and whom they tell of what they refuse. */
export interface LayerVerdicts {
  /** True when the rate limit lets the operation pass. */
  readonly admits: (operation: Operation<Session>) => boolean;
  readonly shed: (operation: Operation<Session>) => void;
  readonly shedLoad: (operation: Operation<Session>) => CallStatus;
  readonly refuseSilent: (operation: Operation<Session>, worker: number) => CallStatus;
  /** False while the client has much to read. */
  readonly reads: (session: Session) => boolean;
}

type LayerOptions = Pick<
  DispatcherOptions,
  'clock' | 'opTimeoutMs' | 'callsInFlightMax' | 'links' | 'calls' | 'listeners' | 'measured'
>;

export function sharedLayers(options: LayerOptions, verdicts: LayerVerdicts): Layer<Operation<Session>, CallStatus>[] {
  const { clock, opTimeoutMs, callsInFlightMax, links, calls, listeners, measured } = options;
  const { admits, shed, shedLoad, refuseSilent, reads } = verdicts;
  const everyone = 2 ** links.count - 1;
  let silent = -1;
  const meetsSilence = (): boolean => {
    silent = links.firstRefused(everyone);
    return silent >= 0;
  };
  const layers: Layer<Operation<Session>, CallStatus>[] = [
    { name: 'authentication', intercept: authentication((session) => session.state === 'ready') },
    { name: 'deadline', intercept: deadline(() => clock.nowMs, opTimeoutMs) },
  ];
  if (callsInFlightMax > 0) {
    const inFlight = (operation: Operation<Session>): number => (mustPass(operation) ? 0 : calls.open);
    layers.push({ name: 'load shed', intercept: loadShed({ inFlight, inFlightMax: callsInFlightMax, shed: shedLoad }) });
  }
  layers.push(
    { name: 'admission', intercept: admission(admits, shed) },
    {
      // Operations with keys are looked at key by key where their rows are routed.
      name: 'circuit breaker',
      intercept: circuitBreaker(
        ({ type }) => OPERATIONS[type].routing === 'map' && meetsSilence(),
        (operation) => refuseSilent(operation, silent),
      ),
    },
    { name: 'partition routing', intercept: partitionRouting((session) => links.firstBlocked() < 0 && reads(session)) },
  );
  if (listeners.length > 0)
    layers.push({ name: 'event listener', intercept: eventListener(calls, listeners, () => clock.nowMs) });
  if (measured !== undefined) layers.push({ name: 'metrics', intercept: metrics(measured) });
  return layers;
}

/** What needs no worker, and what was taken in before and has waited for room. */
function mustPass({ type, caller }: Operation<Session>): boolean {
  return caller.held.length > 0 || OPERATIONS[type].routing === 'session';
}
