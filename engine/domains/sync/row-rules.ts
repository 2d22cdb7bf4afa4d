/**
 * What a worker has of row rules, made before the services that ask it: scopes, the judge of writes, filtered sync.
 */
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { MapCatalogue } from '../crdt/map-catalogue.ts';
import { ScopeTable } from '../security/scope-table.ts';
import { WriteJudge } from '../security/write-judge.ts';
import { ScopedLeaves, type ScopedLeavesOptions } from './scoped-leaves.ts';
import { ScopedSync } from './scoped-sync.ts';

export interface RowRulesOptions extends ScopedLeavesOptions {
  readonly maps: MapCatalogue;
  /** Expires what is due, before a question is answered. */
  readonly catchUp?: () => void;
  /** A write can only be judged by the value of this record, which was dropped from memory: read it back. */
  readonly onValueNeeded: (store: RecordStore, ref: RecordRef) => void;
}

export class RowRules {
  readonly scopes = new ScopeTable();
  readonly judge: WriteJudge;
  readonly sync: ScopedSync;

  constructor(options: RowRulesOptions) {
    this.judge = new WriteJudge(this.scopes, options.onValueNeeded);
    this.sync = new ScopedSync(options.maps, this.scopes, new ScopedLeaves(options), this.judge, options.catchUp);
  }
}
