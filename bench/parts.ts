/**
 * The parts of the benchmark: what each measures, its scenarios, and what is drawn of it. A new part is an entry here.
 */
import type { PlotShape } from './page/plots.ts';
import type { PagePart } from './page/results-page.ts';
import { type RunSettings, runIngest } from './ingest.bench.ts';
import { runIngestWal } from './ingest-wal.bench.ts';
import { runColdSync } from './cold-sync.bench.ts';
import { COUNTER_SCENARIOS, runCounterPart } from './counters/counters.bench.ts';
import { FAN_OUT_SCENARIOS, runFanOutPart } from './fan-out/fan-out.bench.ts';
import { FLUSH_SCENARIOS, runFlush } from './flush/flush.bench.ts';
import { runLiveQueryPart } from './live-query/live-query.bench.ts';
import { MERGE_SCENARIOS, runMergeIngest } from './merge-ingest.bench.ts';
import { runMemory } from './memory.bench.ts';
import type { ScenarioResult } from './result.ts';
import { RESP_SCENARIOS, runResp } from './resp/resp.bench.ts';
import { runRing } from './ring.bench.ts';
import { runScaling, SCALING_SCENARIOS } from './scaling.bench.ts';
import { runWal } from './wal.bench.ts';
import { runWriteBehind, WRITE_BEHIND_SCENARIOS } from './write-behind.bench.ts';

export interface Part extends PagePart {
  readonly scenarios: readonly string[];
  readonly plot?: PlotShape;
  /** Runs the wanted ones of its scenarios. */
  run(settings: RunSettings): AsyncGenerator<ScenarioResult>;
}

const PER_CPU: PlotShape = { figure: 'opsPerCpuSecond', heading: 'operations per CPU second of the server', logarithmic: true };

export const PARTS: readonly Part[] = [
  {
    name: 'ingest',
    title: 'Writes over WebSocket',
    about:
      'OP_BATCH frames in which every op wins its merge, from a generator process of its own that keeps so many in flight on each connection (a closed loop: a server that stands still is sent less, so latencies say how long a batch takes and leave long stalls out), for two seconds, after one of warming up. Beside the raw server: `naive`, a server of one thread that decodes into a Map, and `pm`, one that posts decoded ops to worker threads.',
    scenarios: ['F1', 'F10', 'F10c', 'F100', 'F10x200', 'W50', 'W200', 'W1', 'IDLE'],
    plot: PER_CPU,
    run: runIngest,
  },
  {
    name: 'ingest-wal',
    title: 'What durability costs',
    about:
      'The same writes with the log off, and synced when the system likes (`fsync-off`), each 10 ms (`fsync-10`), and before each acknowledgement (`fsync-always`). ISO: `flushing` has flushes that follow one another without pauses, `alone` neither log nor Postgres.',
    scenarios: ['F1-WAL', 'F10-WAL', 'W50-WAL', 'W1-WAL', 'ISO'],
    plot: PER_CPU,
    run: runIngestWal,
  },
  {
    name: 'fan-out',
    title: 'One writer, many subscribers',
    about:
      'Writes on a schedule (an open loop: latencies run from when a write was due), and subscribers of which every tenth reads slowly. Deliveries are counted, and each must come once, save that updates of a query may be joined and a slow subscriber may be closed, which is counted. The client of a live query gets the event of the map, too: two deliveries a write. `raw` publishes the bytes of the events, also beside topics and queries, whose messages have other lengths, and `raw-joined` those of a turn of its loop in one frame, as Lattice joins them; that is the reference. Who does not keep up with the schedule has less per second, and times that grow as long as the window lasts. Times of slow subscribers, which read 16 KiB a second, are told apart.',
    scenarios: FAN_OUT_SCENARIOS,
    plot: { figure: 'opsPerCpuSecond', heading: 'deliveries per CPU second of the server', logarithmic: true },
    run: runFanOutPart,
  },
  {
    name: 'live-query',
    title: 'A thousand live queries',
    about:
      'Queries `owner = i AND done = false ORDER BY ts LIMIT 50` over 20 connections, while rows change on a schedule (an open loop: latencies run from when a write was due to its row in a view). Every view is compared with the rows before and after. An update may change two views, of which each counts. `raw` is told which bytes go to which connection.',
    scenarios: ['W4'],
    plot: { figure: 'opsPerCpuSecond', heading: 'updates per CPU second of the server', logarithmic: true },
    run: runLiveQueryPart,
  },
  {
    name: 'resp',
    title: 'Redis commands',
    about:
      'GET, SET and INCR as redis-benchmark sends them, one or 16 in flight on each of 50 connections (a closed loop). `lattice` has its log, as `redis-everysec` its append-only file; `alone` and `redis` keep nothing. `raw` gets each pipeline as one WebSocket frame and sends its replies as one, since uWebSockets.js speaks no plain TCP; `raw-net` are the sockets of Node, which the door of Lattice stands on. All replies are compared.',
    scenarios: RESP_SCENARIOS,
    plot: { figure: 'opsPerCpuSecond', heading: 'commands per CPU second of the server' },
    run: runResp,
  },
  {
    name: 'merge-ingest',
    title: 'Merging from many connections',
    about:
      'Batches of 10 with clocks shuffled within the last minute, into keys of their own or into 1000 hot ones, at every durability level, 16 in flight on each connection (a closed loop; `W2-PACED` is an open one). After each run the state must be that of an oracle. Redis keeps what came last and merges nothing. Of the writes of a hot key with shuffled clocks nearly all lose, the more the longer a run lasts: Lattice neither logs nor tells those, while Redis stores each and the CRDT libraries, whose clocks are their own, tell each. Rows of hot keys so say what an application pays for such a load; with keys of their own all do the same work. The peers that merge keep all in memory, get the same ops from as many connections, fewer of them where they are slow, and tell every writer of every write; they acknowledge nothing, so they have no latencies: the time is up to the last change of their document. `lattice-told` tells every connection of every write of the others that won, too, and what it sent is counted against what was due. `raw` answers the same frames with nothing behind it; all rows are divided by `redis-hset`.',
    scenarios: MERGE_SCENARIOS.map(({ name }) => name),
    plot: PER_CPU,
    run: runMergeIngest,
  },
  {
    name: 'counters',
    title: 'Counting',
    about:
      'PN counters over WebSocket, of which every client that counts is told of every increment, and INCR over the protocol of Redis, beside Redis by when it syncs its file; eight in flight on each connection (a closed loop). `raw` gets the frames of the PN counters and answers each with a state as long as theirs, but tells nobody else. `redis-everysec` is the reference.',
    scenarios: COUNTER_SCENARIOS,
    plot: { figure: 'opsPerCpuSecond', heading: 'increments per CPU second of the server', logarithmic: true },
    run: runCounterPart,
  },
  {
    name: 'write-behind',
    title: 'Postgres behind writes at full speed',
    about:
      'The merges of W2 into servers that differ in their log and their flushes. `alone` has neither log nor Postgres. `log-off` has room for all that waits for Postgres: by default a server without a log refuses writes beyond 256 MiB of it. In the rows with `-gc` the ticks of the workers expire and prune as much as they can all the time, else they have nothing to collect. Rows reached Postgres in the measured window; the lag is the greatest age of a write that had not, up to the last flush. A server that did not log, sync and flush as its name says makes a run void. `raw` answers the same frames with nothing behind it.',
    scenarios: WRITE_BEHIND_SCENARIOS.map(({ name }) => name),
    plot: { figure: 'p99Us', heading: 'p99 of a batch, µs', logarithmic: true },
    run: runWriteBehind,
  },
  {
    name: 'flush',
    title: 'Rows into Postgres',
    about:
      'What a worker does with staged records, 5000 a transaction, beside a client that sends `INSERT … VALUES` with the same guard, and `psql` with the bytes of our COPY made beforehand. Divided by `multi-values`. Of each run the whole table is compared with the rows that were sent.',
    scenarios: FLUSH_SCENARIOS,
    plot: { figure: 'clientUsPerRow', heading: 'CPU of the client a row, µs', logarithmic: true },
    run: runFlush,
  },
  {
    name: 'scaling',
    title: 'How cost grows',
    about:
      'With threads, with the keys of a map, with connections; each size is a row, divided by the first; `raw` has nothing behind it. Every op wins its merge; servers of all sizes of maps are up at once and take turns. Without log and Postgres.',
    scenarios: SCALING_SCENARIOS,
    plot: PER_CPU,
    run: runScaling,
  },
  {
    name: 'memory',
    title: 'Memory of a million records',
    about:
      'Growth of the resident set from empty to full, the time to load, and from a restart to ready. Lattice and Redis are loaded over sockets and come back from disk; the others are libraries, filled inside a process.',
    scenarios: ['W6'],
    plot: { figure: 'rssBytesPerRecord', heading: 'bytes of memory a record' },
    run: runMemory,
  },
  {
    name: 'cold-sync',
    title: 'Catching up by the Merkle walk',
    about:
      'A client syncs a map of 100 000 keys from nothing, then again after 1 % of it changed. `replay` is a raw server that sends the same frames in the same order to the same client.',
    scenarios: ['SYNC-COLD', 'SYNC-1PCT'],
    plot: { figure: 'syncMs', heading: 'ms until the roots are equal', logarithmic: true },
    run: runColdSync,
  },
  {
    name: 'ring',
    title: 'Inside: hand-off, scan, merge',
    about:
      'The pieces by themselves: the ring between threads beside `postMessage`, the frame scanner beside decoders, the record table beside a Map.',
    scenarios: ['RING', 'SCAN', 'MERGE'],
    plot: { figure: 'opsPerSecond', heading: 'per second', logarithmic: true },
    run: runRing,
  },
  {
    name: 'wal',
    title: 'The log by itself',
    about: 'Records of 200 bytes made durable, beside lmdb.',
    scenarios: ['LOG', 'FRAME'],
    plot: { figure: 'opsPerSecond', heading: 'durable records per second', logarithmic: true },
    run: runWal,
  },
];
