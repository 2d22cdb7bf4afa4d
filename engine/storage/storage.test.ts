/** Both storages run the same suite. */
import { MapStorage } from './map-storage.ts';
import { RecordTable } from './record-table.ts';
import { Slab } from './slab.ts';
import { testStorage } from './storage.conformance.ts';

testStorage('RecordTable', () => new RecordTable(new Slab()));
testStorage('MapStorage', () => new MapStorage());
