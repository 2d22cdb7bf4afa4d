import { testMapDataStore } from './map-data-store.conformance.ts';
import { NullDataStore } from './null-data-store.ts';

testMapDataStore('NullDataStore', () => new NullDataStore(), { persists: false });
