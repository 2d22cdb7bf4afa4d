/**
 * Automerge: ten assignments in one change of the connection's own document, sent as a sync message that holds this change.
 *
 * Strings are immutable ones, which cost less than texts. Automerge orders writes by its own logical clocks, not by times that a client
 * says. What must be left says another document that applied the same changes, the last connection first.
 */
import { binaryFrame, upgrade } from '../client-frames.ts';
import type { Step } from '../fan-out/byte-stream.ts';
import { importPeer } from '../peer-packages.ts';
import type { MergeWire } from './merge-wire.ts';
import { batchesOf, type MixedRun } from './mixed-writes.ts';

type Doc = Readonly<Record<string, { readonly title: { toString(): string } }>>;

export interface Automerge {
  ImmutableString: new (text: string) => { toString(): string };
  init(options?: { actor: string }): Doc;
  change(doc: Doc, body: (doc: Record<string, unknown>) => void): Doc;
  getLastLocalChange(doc: Doc): Uint8Array;
  getHeads(doc: Doc): string[];
  applyChanges(doc: Doc, changes: readonly Uint8Array[]): readonly [Doc];
  encodeSyncMessage(message: object): Uint8Array;
}

interface AutomergeRepo {
  readonly cbor: { encode(value: unknown): Uint8Array };
}

/** Of the server (merge-peer-server.ts). */
export const AUTOMERGE_PEER_ID = 'merge-server';
const ACTOR_DIGITS = 32;

export class AutomergeWire implements MergeWire {
  readonly #documentId: string;
  readonly #run: MixedRun;
  readonly #automerge: Automerge;
  readonly #encode: (value: unknown) => Uint8Array;
  readonly #changes: Uint8Array[][] = [];

  private constructor(documentId: string, run: MixedRun, automerge: Automerge, encode: (value: unknown) => Uint8Array) {
    this.#documentId = documentId;
    this.#run = run;
    this.#automerge = automerge;
    this.#encode = encode;
  }

  static async open(documentId: string, run: MixedRun): Promise<AutomergeWire> {
    const { cbor } = await importPeer<AutomergeRepo>('@automerge/automerge-repo');
    return new AutomergeWire(documentId, run, await importPeer<Automerge>('@automerge/automerge'), cbor.encode);
  }

  steps(connection: number): readonly Step[] {
    const senderId = peerId(connection);
    const join = { type: 'join', senderId, peerMetadata: { isEphemeral: true }, supportedProtocolVersions: ['1'] };
    return [upgrade('/', undefined, connection), { send: binaryFrame(this.#encode(join)), expect: AUTOMERGE_PEER_ID }];
  }

  frames(connection: number): readonly Uint8Array[] {
    const { init, change, getHeads, getLastLocalChange, encodeSyncMessage, ImmutableString } = this.#automerge;
    const changes: Uint8Array[] = [];
    this.#changes.push(changes);
    let doc = init({ actor: (connection + 1).toString(16).padStart(ACTOR_DIGITS, '0') });
    return batchesOf(this.#run, connection).map((batch) => {
      doc = change(doc, (draft) => {
        for (const { key, value } of batch)
          draft[key] = { ...value, title: new ImmutableString(value.title), owner: new ImmutableString(value.owner) };
      });
      const last = getLastLocalChange(doc);
      changes.push(last);
      const have = [{ lastSync: [], bloom: new Uint8Array(0) }];
      const data = encodeSyncMessage({ heads: getHeads(doc), need: [], have, changes: [last] });
      const [senderId, targetId] = [peerId(connection), AUTOMERGE_PEER_ID];
      return binaryFrame(this.#encode({ type: 'sync', senderId, targetId, documentId: this.#documentId, data }));
    });
  }

  expected(): ReadonlyMap<string, string> {
    const { init, applyChanges } = this.#automerge;
    const [replica] = applyChanges(init(), [...this.#changes].reverse().flat());
    return new Map(Object.entries(replica).map(([key, { title }]) => [key, title.toString()]));
  }
}

function peerId(connection: number): string {
  return `writer-${connection}`;
}
