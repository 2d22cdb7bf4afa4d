/** What routes know of a grid, where there is none: enough for what asks nobody. */
import { ActMarks } from '../../engine/domains/kv/act-marks.ts';
import assert from 'node:assert/strict';
import { Definitions } from '../../engine/operation/definitions.ts';
import { FULL_ACCESS } from '../../engine/domains/security/access.ts';
import { ackLevels } from '../../engine/protocol/ack-level.ts';
import { Authenticator } from '../authentication.ts';
import type { HttpDoor } from '../http/http-door.ts';
import { NodeDesk } from '../node-desk.ts';
import { WholeReads } from '../whole-reads.ts';

type Replaceable = Pick<HttpDoor, 'open' | 'say' | 'close' | 'now' | 'remembersSinceMs'>;

/** A door of which `parts` do something; most others fail the test that asks them. */
export async function doorWithoutGrid(parts: Partial<Replaceable>): Promise<HttpDoor> {
  return {
    authenticator: await Authenticator.create({ jwtSecret: undefined, jwtIssuer: undefined, jwtAudience: undefined }),
    get calls(): never {
      return assert.fail('no worker is to be asked');
    },
    wholeReads: new WholeReads(new ActMarks(new SharedArrayBuffer(ActMarks.BYTES)), 1000),
    get links(): never {
      return assert.fail('no worker is to be asked');
    },
    levels: ackLevels({ store: 'none', wal: false, walFsync: 'off' }),
    nodeId: 'node',
    definitions: new Definitions(),
    node: new NodeDesk(() => assert.fail('the node is not to be asked')),
    accessOf: () => FULL_ACCESS,
    onRefused: assert.fail,
    open: () => undefined,
    say: assert.fail,
    close: () => assert.fail(),
    now: () => ({ millis: 0, counter: 0, nodeId: 'node' }),
    remembersSinceMs: () => 0,
    pruneWatermarkMs: () => 0,
    policiesChangedSince: () => false,
    ...parts,
  };
}
