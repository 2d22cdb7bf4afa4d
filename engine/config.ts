/**
 * Every option of the server: the one place of names, ranges, defaults and what turning each one costs.
 *
 * From this list come the schema, the help text, the table in the README, `lattice config` and the messages for wrong
 * values, so none of them can differ from it. Where a value comes from is settled in config-resolution.ts:
 * flag > environment > file > preset > default. The names follow from the option's own: `flushDelayMs` is
 * `--flush-delay-ms`, `LATTICE_FLUSH_DELAY_MS`, and `flushDelayMs` in its section of the TOML file.
 */
import { z } from 'zod';
import { choice, integer, type Option, onOff, optionalText, powerOfTwo, text, textList } from './config-option.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const DAY_MS = 86_400_000;

const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[a-z0-9._~[\]:-]+$/;
const POSTGRES_URL = /^postgres(?:ql)?:\/\/./;

const DEFINITIONS = {
  port: integer({
    section: 'server',
    default: 8080,
    min: 0,
    max: 65_535,
    env: ['LATTICE_PORT', 'PORT'],
    about: 'TCP port of WebSocket and HTTP. 0 takes any free port; the one taken is printed as `PORT=n`.',
  }),
  host: text({
    section: 'server',
    default: '127.0.0.1',
    allowed: 'an address or a name of this machine',
    about: 'Address to listen on. An address that is not loopback needs jwtSecret.',
  }),
  maxSessions: integer({
    section: 'server',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    unit: 'sessions',
    about: 'Connections at a time of one gateway thread; a further client is closed with code 1013.',
    raise: 'more clients, and up to sessionBufferBytesMax + sessionBackpressureBytesMax of memory for each.',
    lower: 'a lower bound on memory; clients above it must come again.',
  }),
  frameBytesMax: integer({
    section: 'server',
    default: 2 * MIB,
    min: 64 * KIB,
    max: 4 * MIB,
    unit: 'bytes',
    about: 'Largest frame taken from a client; a larger one closes the connection.',
    raise: 'larger values and batches, and longer stalls for the clients behind one.',
    lower: 'smaller stalls; the client sends up to 2 MiB by itself.',
  }),
  idleTimeoutMs: integer({
    section: 'server',
    default: 60_000,
    min: 1_000,
    max: 3_600_000,
    unit: 'ms',
    about: 'A connection that sent nothing, not even a PING, for this long is closed. Clients ping every 5 s.',
    raise: 'dead connections are kept longer.',
    lower: 'sleeping tabs and bad networks reconnect more often.',
  }),
  trustedOrigins: textList({
    section: 'server',
    allowed: 'origins such as https://app.example.com, with commas between them',
    accepts: (origin) => ORIGIN.test(origin),
    about:
      'Origins of pages, besides loopback ones, that may connect while there is no authentication. With and without it, ' +
      'scripts of these pages may read the answers of HTTP (CORS).',
    raise: 'without authentication each origin here may read and write everything through the browser of whoever opens its page.',
  }),

  policyBypassSubjects: textList({
    section: 'security',
    allowed: 'ids of subjects (`sub` of their tokens), with commas between them',
    accepts: (id) => id.length <= 256,
    about: 'Subjects that pass all policies. A role in a token never does.',
    raise: 'each subject here reads and writes everything, whatever the policies say.',
  }),

  respPort: integer({
    section: 'redis',
    default: 0,
    min: 0,
    max: 65_535,
    about: 'TCP port for clients of Redis, on the same host. 0: none. With jwtSecret or respPassword they must authenticate.',
  }),
  respPassword: optionalText({
    section: 'redis',
    secret: true,
    allowed: 'a text of at most 512 characters',
    accepts: (password) => password.length <= 512,
    about: 'Password for AUTH. A token of jwtSecret is taken in its place, too.',
  }),
  respSubject: text({
    section: 'redis',
    default: 'redis',
    allowed: 'a text',
    about: 'Subject that a client speaks for once it has given respPassword; policies name it.',
  }),

  jwtSecret: optionalText({
    section: 'security',
    env: ['JWT_SECRET'],
    secret: true,
    allowed: 'a secret, or a public key in PEM form',
    accepts: (secret) => !secret.includes('PRIVATE KEY'),
    about:
      'Turns authentication on: the secret of HS256 tokens (below 32 bytes with a warning), or the PEM public key of RS256 tokens, in ' +
      'which \\n may stand for a line break. Without it there is no authentication, and only loopback is served.',
  }),
  jwtIssuer: optionalText({
    section: 'security',
    allowed: 'a text',
    about: 'The iss that every token must carry. Not set: any, or none.',
  }),
  jwtAudience: optionalText({
    section: 'security',
    allowed: 'a text',
    about: 'The aud that every token must carry. Not set: any, or none.',
  }),
  tlsCertFile: optionalText({
    section: 'security',
    allowed: 'a path',
    about:
      'Certificate in PEM form, with those between it and the root behind it: WebSocket, HTTP and the Redis port speak TLS only. ' +
      'It is read again when it changes and on SIGHUP; connections that are open stay. Needs tlsKeyFile.',
  }),
  tlsKeyFile: optionalText({
    section: 'security',
    allowed: 'a path',
    about: 'Private key of tlsCertFile in PEM form, without a passphrase.',
  }),
  adminUsername: text({
    section: 'security',
    default: 'admin',
    allowed: 'a name',
    about: 'Name of the administrator, for POST /api/auth/login.',
  }),
  adminPassword: optionalText({
    section: 'security',
    secret: true,
    allowed: 'a password of 12 characters or more',
    accepts: (password) => password.length >= 12,
    about:
      'Password of the administrator: POST /api/auth/login answers it with a token for the admin API, good for a day. Not set: ' +
      'nobody can log in; tokens with the role admin that others signed are taken all the same. Needs a jwtSecret that is no public key.',
  }),
  httpAnonymous: onOff({
    section: 'security',
    default: false,
    about: 'While authentication is on: whether HTTP is served without a token, or with a bad one, to nobody in particular.',
    raise: 'on: whoever reaches the port may do over HTTP what policies leave to everybody; without policies, everything.',
    lower: 'off: who has no good token gets 401, except at /, /health and /api/auth/status.',
  }),
  authDeadlineMs: integer({
    section: 'security',
    default: 10_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    about: 'A connection that has not authenticated by then is closed; frames do not extend it.',
    raise: 'strangers hold connections longer.',
    lower: 'clients on slow networks are cut off before their token arrives.',
  }),

  workerThreads: integer({
    section: 'threads',
    default: 0,
    min: 0,
    max: 16,
    unit: 'threads',
    defaultText: 'half of the cores, 2 to 8, within what the gateways leave, at least 1',
    about: 'Threads that own the partitions. 0 counts them from the cores (and the CPU quota of the container).',
    raise: 'more cores merge at once; above the number of cores each operation costs 40 to 85 % more CPU.',
    lower: 'less memory and CPU.',
  }),
  gatewayThreads: integer({
    section: 'threads',
    default: 0,
    min: 0,
    max: 16,
    unit: 'threads',
    defaultText: 'a quarter of the cores, 1 to 4',
    about: 'Threads that hold the sockets. 0 counts them from the cores (and the CPU quota of the container).',
    raise: 'more connections and frames at once, and a ring pair to every worker for each thread.',
    lower: 'less memory and CPU.',
  }),
  fused: onOff({
    section: 'threads',
    default: false,
    about:
      'Runs the one gateway and the one worker in one thread, for a machine or container of one or two cores. ' +
      'workerThreads and gatewayThreads must then be 1, or 0.',
    raise:
      'on: no thread waits for another to wake up, so a lone operation takes half the time and half the CPU (under load nothing is saved), ' +
      'and another core is free for Postgres and clients; one core is all that the server uses. A bug that ends the worker ends the process, which whatever started it must start again.',
    lower: 'off: sockets and merges have a core each, and a worker that ends is replaced while connections stay.',
  }),
  ringBytes: powerOfTwo({
    section: 'threads',
    default: 4 * MIB,
    min: 256 * KIB,
    max: 256 * MIB,
    about:
      'Size of one ring between a gateway thread and a worker; each pair of threads has two. 4 MiB holds about 10 000 ' +
      'operations of 400 bytes.',
    raise: 'takes in larger bursts before a client must wait, in gateways × workers × 2 times the memory.',
    lower: 'less memory, and pressure on clients sooner.',
  }),
  batchRecords: integer({
    section: 'threads',
    default: 100,
    min: 1,
    max: 1024,
    unit: 'records',
    about: 'Records that a worker drains from a ring before it answers them together. It never waits for a batch to fill.',
    raise: 'more throughput under load; the first operation of a batch waits for the last.',
    lower: 'shorter waits, more CPU for each operation.',
  }),
  preset: choice({
    section: 'threads',
    words: ['none', 'high-throughput', 'low-latency'],
    default: 'none',
    about: 'Other defaults for a group of options; what is set by name wins over the preset.',
  }),

  opTimeoutMs: integer({
    section: 'flow',
    default: 5_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    about: 'An operation that no worker has answered by then is refused as late.',
    raise: 'clients wait longer on a worker that stands still.',
    lower: 'slow moments turn into refusals, which clients send again.',
  }),
  requestTimeoutMs: integer({
    section: 'flow',
    default: 30_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    about:
      'Deadline of an HTTP request and of a sync question; the longest that a frame is held, or a client waits for PERSISTED.',
    raise: 'clients wait longer for an answer that may not come.',
    lower: 'long answers are cut off.',
  }),
  rateOpsPerSecond: integer({
    section: 'flow',
    default: 20_000,
    min: 0,
    max: 100_000_000,
    unit: 'operations per second',
    about:
      'Operations a connection may send, sustained; over HTTP a subject, or an address. 0 turns the limit off. Operations that are sent ' +
      'again are free. Connections of Redis have no rate.',
    raise: 'one client may take more of the machine.',
    lower: 'clients are refused (429), and with operations in the frame cut off (1013), sooner.',
  }),
  rateBurstOps: integer({
    section: 'flow',
    default: 40_000,
    min: 1,
    max: 100_000_000,
    unit: 'operations',
    about: 'Operations a connection may send at once after a pause.',
    raise: 'a client that comes back may send what it saved up in one go.',
    lower: 'evener load; long offline queues need several connections.',
  }),
  sessionBufferBytesMax: integer({
    section: 'flow',
    default: 4 * MIB,
    min: 64 * KIB,
    max: 256 * MIB,
    unit: 'bytes',
    about: 'Frames held for one connection while a ring is full; beyond it the frame is refused with 429.',
    raise: 'rides out longer stalls, in memory for each connection.',
    lower: 'refuses sooner; at least frameBytesMax.',
  }),
  heldBytesMax: integer({
    section: 'flow',
    default: 256 * MIB,
    min: 64 * KIB,
    max: 16_384 * MIB,
    unit: 'bytes',
    about:
      'Frames held for all connections of one gateway thread, while rings are full or a worker is replaced; beyond it a further one is refused with 429. As much again, at least 64 MiB, for replies that Redis clients have not read, and for large answers by HTTP.',
    raise: 'more clients ride out a stall together, in memory.',
    lower: 'a stall under load takes less memory and refuses sooner; at least sessionBufferBytesMax.',
  }),
  sessionBackpressureBytesMax: integer({
    section: 'flow',
    default: 4 * MIB,
    min: 64 * KIB,
    max: 256 * MIB,
    unit: 'bytes',
    about: 'Bytes that wait for a client that reads slowly; beyond it the connection is closed and repairs itself by sync.',
    raise: 'slow clients stay longer, in memory for each connection.',
    lower: 'slow clients reconnect more often.',
  }),
  queriesPerSession: integer({
    section: 'flow',
    default: 1_000,
    min: 1,
    max: 100_000,
    unit: 'queries',
    about: 'Live queries that a connection may have; a further one is refused.',
    raise: 'more views for each client; what one keeps depends on its rows.',
    lower: 'a client that forgets to end its queries takes less memory.',
  }),
  maxQueries: integer({
    section: 'flow',
    default: 20_000,
    min: 1,
    max: 1_000_000,
    unit: 'queries',
    about: 'Live queries of the whole server; a further one is refused.',
    raise: 'more views, in some kilobytes of memory each and work for each change that concerns them.',
    lower: 'clients are refused sooner.',
  }),
  queryRowsMax: integer({
    section: 'flow',
    default: 10_000,
    min: 1,
    max: 100_000,
    unit: 'rows',
    about: 'Rows of one result, whatever limit the query names; what is left out is said (hasMore).',
    raise: 'larger results, in memory on workers and gateway as long as the query lives.',
    lower: 'clients page sooner.',
  }),
  queryResultBytesMax: integer({
    section: 'flow',
    default: 2 * MIB,
    min: 4 * KIB,
    max: 64 * MIB,
    unit: 'bytes',
    about:
      'Bytes of one first result (values, keys, what it is sorted by), or of the groups of a query; what is larger is refused with 413.',
    raise: 'larger results at once; at most sessionBackpressureBytesMax reaches a client that reads slowly.',
    lower: 'clients must ask for fewer rows (limit) or less of each (fields).',
  }),
  queryKeptRowsMax: integer({
    section: 'memory',
    default: 500_000,
    min: 1_000,
    max: 100_000_000,
    unit: 'rows',
    about:
      'Rows that a worker keeps in mind for live queries, at 100 to 200 bytes each, one with long keys or sorted values as several; a query that goes beyond it is refused, or ended by an error.',
    raise: 'more and larger views.',
    lower: 'less memory beside the records.',
  }),
  indexBytesMax: integer({
    section: 'memory',
    default: 256 * MIB,
    min: MIB,
    max: 64 * 1024 * MIB,
    unit: 'bytes',
    about:
      'Memory of all indexes of attributes together, on the heaps of the workers: about 150 bytes a row and index. An index beyond it is not kept, and its queries look at all rows.',
    raise: 'more rows can be found by index; a worker keeps at least half a gigabyte of heap, and a quarter of the memory bound.',
    lower: 'more memory for records.',
  }),
  topicsPerSession: integer({
    section: 'flow',
    default: 1_000,
    min: 1,
    max: 100_000,
    unit: 'topics',
    about: 'Topics that a connection may be subscribed to; a further one is refused.',
    raise: 'more topics for each client, in about 200 bytes of memory for each.',
    lower: 'a client with a mistake in its topics takes less memory.',
  }),
  topicMessageBytesMax: integer({
    section: 'flow',
    default: MIB,
    min: KIB,
    max: 2 * MIB,
    unit: 'bytes',
    about: 'Largest payload of a message of a topic; a larger one is refused.',
    raise: 'larger messages, which are sent to every subscriber.',
    lower: 'evener delivery; subscribers that read slowly are closed later.',
  }),

  priorities: onOff({
    section: 'flow',
    default: false,
    about:
      'Classes of connections, high, normal and low (`/ws?priority=low`; high is for the role admin where there is ' +
      'authentication): while requests wait for a worker, the classes are served by their weights, by bytes.',
    raise:
      'on: a flood of one class delays the others by little; rings are filled to a sixteenth only, so bursts wait in the gateway.',
    lower: 'off: requests are served in the order in which they came.',
  }),
  priorityWeightHigh: integer({
    section: 'flow',
    default: 3,
    min: 1,
    max: 1_000,
    about: 'Share of the class high while all classes wait.',
  }),
  priorityWeightNormal: integer({
    section: 'flow',
    default: 2,
    min: 1,
    max: 1_000,
    about: 'Share of the class normal, which every connection has that asks for none.',
  }),
  priorityWeightLow: integer({
    section: 'flow',
    default: 1,
    min: 1,
    max: 1_000,
    about: 'Share of the class low.',
  }),
  priorityFramesMax: integer({
    section: 'flow',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    unit: 'frames',
    about: 'Frames of one class that may wait in a gateway thread; a further one is refused with 429. Only with priorities on.',
    raise: 'rides out longer floods, in memory.',
    lower: 'refuses sooner, each class for itself.',
  }),

  callsInFlightMax: integer({
    section: 'flow',
    default: 0,
    min: 0,
    max: 65_536,
    unit: 'calls',
    about:
      'Calls under way in a gateway thread, above which a further request over WebSocket is refused at once (429), so that those ' +
      'under way end in time. 0: as many as there is room for, 65536; then requests wait.',
    raise: 'more work at once, and longer answers when there is much of it.',
    lower: 'quicker answers for those that are taken in, and more that are refused.',
  }),
  workerBreakerFailures: integer({
    section: 'flow',
    default: 5,
    min: 0,
    max: 1_000,
    unit: 'calls',
    about:
      'Calls in a row that a worker leaves unanswered until their deadline, while it says nothing at all: then what would go ' +
      'to it is refused at once, but for a call now and then, until it answers or is replaced. 0: every call waits.',
    raise: 'a worker that stands still holds up its clients for longer.',
    lower: 'a moment of silence turns clients away sooner.',
  }),
  workerBreakerOpenMs: integer({
    section: 'flow',
    default: 30_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    about: 'The longest pause between two such calls; it begins with 1 s and doubles.',
  }),
  operationMetrics: onOff({
    section: 'flow',
    default: false,
    about: 'Counts operations by type and by how long they took, for /metrics.',
    raise: 'on: a few nanoseconds for each frame.',
  }),
  slowOperationMs: integer({
    section: 'flow',
    default: 0,
    min: 0,
    max: 600_000,
    unit: 'ms',
    about: 'Operations that take so long or longer are logged, ten a second at most. 0: none are.',
  }),

  maxMaps: integer({
    section: 'data',
    default: 1_000,
    min: 1,
    max: 1_000_000,
    unit: 'maps',
    about: 'Maps that a worker may hold records of; a write to a further one is refused.',
    raise: 'more maps, each with a Merkle tree on every worker.',
    lower: 'a client with a mistake in its map names fills less memory.',
  }),
  maxCounters: integer({
    section: 'data',
    default: 100_000,
    min: 1,
    max: 10_000_000,
    unit: 'counters',
    about: 'PN counters that a worker thread keeps; a further one is refused.',
    raise: 'more counters, about half a kilobyte of memory for each of their nodes.',
    lower: 'a client with a mistake in its counter names fills less memory.',
  }),
  counterNodesMax: integer({
    section: 'data',
    default: 10_000,
    min: 1,
    max: 20_000,
    unit: 'nodes',
    about: 'Nodes that may change one PN counter. A client without a fixed node id is another node each time it starts.',
    raise: 'longer states, which clients send and get whole: about 90 bytes a node.',
    lower: 'shorter states.',
  }),
  journal: choice({
    section: 'data',
    default: 'auto',
    words: ['auto', 'on', 'off'],
    about:
      'The journal of changes. auto records from the moment on at which a client first asks for it, on from the start, off refuses it.',
  }),
  journalMaps: textList({
    section: 'data',
    allowed: 'names of maps, in which * stands for any characters; ! in front leaves out',
    about: 'Maps whose changes the journal records. Not set: all.',
    raise: 'more memory and time a write.',
  }),
  journalEventsMax: integer({
    section: 'data',
    default: 10_000,
    min: 16,
    max: 10_000_000,
    unit: 'events',
    about: 'Events that the journal keeps, shared out among the workers. Who asks for an older one is told of a gap.',
    raise: 'clients may stay away for longer, in memory for each event.',
    lower: 'less memory.',
  }),
  journalBytesMax: integer({
    section: 'data',
    default: 64 * MIB,
    min: 64 * KIB,
    max: 16_384 * MIB,
    unit: 'bytes',
    about: 'Memory of the journal, shared out among the workers.',
    raise: 'clients may stay away for longer.',
    lower: 'less memory.',
  }),
  journalTtlMs: integer({
    section: 'data',
    default: 0,
    min: 0,
    max: 365 * DAY_MS,
    unit: 'ms',
    about: 'Age from which an event of the journal goes. 0: none goes for its age.',
    raise: 'clients may stay away for longer.',
    lower: 'less memory.',
  }),
  driftMaxMs: integer({
    section: 'data',
    default: 60_000,
    min: 1_000,
    max: DAY_MS,
    unit: 'ms',
    about: 'How far the clock of a node may be ahead of the server before its stamps get a fixed offset.',
    raise: 'a fast clock wins against later writes of others for longer.',
    lower: 'clients with slightly wrong clocks are corrected, which their own copy shows only after a sync.',
  }),
  tombstoneHorizonMs: integer({
    section: 'data',
    default: 30 * DAY_MS,
    min: 60_000,
    max: 3_650 * DAY_MS,
    unit: 'ms',
    about: 'How long removals are remembered. A device that was away for longer is told to start again.',
    raise: 'devices may be away longer; tombstones take memory and disk.',
    lower: 'less memory; more devices start again and lose what they wrote offline.',
  }),

  dataDir: text({
    section: 'storage',
    default: '',
    defaultText: '$XDG_DATA_HOME/lattice (~/.local/share/lattice); as root /var/lib/lattice',
    allowed: 'a path',
    about: 'Folder of the embedded Postgres and of everything else that is kept. One server at a time.',
  }),
  databaseUrl: optionalText({
    section: 'storage',
    env: ['DATABASE_URL'],
    secret: true,
    allowed: 'a URL that begins with postgres:// or postgresql://',
    accepts: (url) => POSTGRES_URL.test(url),
    about: 'Postgres to keep the records in. Not set: the embedded one, in dataDir.',
  }),
  store: choice({
    section: 'storage',
    words: ['write-behind', 'write-through', 'none'],
    default: 'write-behind',
    about:
      'When records reach Postgres: in the background (write-behind), before the answer (write-through), or never (none: ' +
      'everything is gone at the end of the process).',
  }),
  flushDelayMs: integer({
    section: 'storage',
    default: 50,
    min: 0,
    max: 60_000,
    unit: 'ms',
    about: 'Time a staged write waits for newer writes of its key. 0 flushes on each tick.',
    raise: 'fewer and larger upserts, more coalescing; more is lost when the process is killed.',
    lower: 'less is lost; more load on Postgres.',
  }),
  flushRecordsMax: integer({
    section: 'storage',
    default: 5_000,
    min: 1,
    max: 100_000,
    unit: 'records',
    about: 'Records in one flush of a worker.',
    raise: 'more records a second into Postgres, up to about 10 000 a flush; longer transactions.',
    lower: 'shorter transactions.',
  }),
  stagedBytesMax: integer({
    section: 'storage',
    default: 256 * MIB,
    min: MIB,
    max: 16 * 1024 * MIB,
    unit: 'bytes per worker',
    about:
      'Writes that wait for Postgres. From half of it on flushes follow one another without pauses; beyond it a worker without a log refuses writes until Postgres has taken some.',
    raise:
      'rides out a longer absence of Postgres, and leaves clients more of a busy machine; what waits cannot be dropped from memory.',
    lower: 'flushes and refuses sooner.',
  }),
  storageTimeoutMs: integer({
    section: 'storage',
    default: 30_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    about: 'Deadline of every call to Postgres; the connection of a late one is given up.',
    raise: 'large flushes on a slow database get through.',
    lower: 'a Postgres that hangs is noticed sooner.',
  }),
  pgJson: onOff({
    section: 'storage',
    default: true,
    about: 'Keeps a jsonb copy of every value beside its bytes, for people and reports (view lattice.record).',
    raise: 'on: values can be read and queried in SQL.',
    lower: 'off: less CPU a flush and less disk.',
  }),

  wal: onOff({
    section: 'durability',
    default: true,
    about:
      'Write-ahead log, in dataDir: what is acknowledged survives a kill of the process. Only with store = write-behind; ' +
      'write-through acknowledges what Postgres has committed.',
    raise: 'on: acknowledged writes are in a file first.',
    lower: 'off: a pure cache in front of Postgres; writes that are not flushed yet are lost with the process.',
  }),
  walFsync: text({
    section: 'durability',
    default: '10',
    allowed: 'always, off, or a whole number of ms from 1 to 60000',
    accepts: (policy) => policy === 'always' || policy === 'off' || /^[1-9]\d{0,3}$|^[1-5]\d{4}$|^60000$/.test(policy),
    about:
      'When the log is forced to the disk: before each acknowledgement (always), this many ms after a write, or when the ' +
      'system likes (off). Writes that ask for PERSISTED are synced at once whatever it says.',
    raise: 'fewer syncs; a power loss takes more of what was acknowledged as APPLIED.',
    lower: 'a power loss takes less; always costs a disk sync before each batch of answers.',
  }),
  walSegmentBytes: powerOfTwo({
    section: 'durability',
    default: 64 * MIB,
    min: 64 * KIB,
    max: 1024 * MIB,
    about: 'Size of a file of the log. A file is deleted once Postgres has everything in it.',
    raise: 'fewer files; more is read again at a start after a crash.',
    lower: 'more files, which are deleted sooner.',
  }),
  walMaxBytes: integer({
    section: 'durability',
    default: 4 * 1024 * MIB,
    min: 4 * MIB,
    max: 1024 * 1024 * MIB,
    unit: 'bytes',
    about:
      'All files of the log together, shared evenly by the workers. Beyond it writes are refused until Postgres has taken some.',
    raise: 'rides out a longer absence of Postgres; a start after it takes longer.',
    lower: 'refuses sooner.',
  }),
  maxMemory: integer({
    section: 'durability',
    default: 0,
    min: 0,
    max: 1024 * 1024 * MIB,
    unit: 'bytes',
    defaultText: '70 % of the memory of the machine or its container',
    about:
      'Memory of the whole process. Near it, values of cold records that Postgres has are dropped and read back when ' +
      'somebody asks; when none is left to drop, writes are refused. 0 takes the default.',
    raise: 'more values in memory.',
    lower: 'more reads wait for Postgres.',
  }),
  evictionPolicy: choice({
    section: 'durability',
    words: ['lru', 'lfu', 'none'],
    default: 'lru',
    about: 'Whose values are dropped first: least recently (lru) or least often (lfu) used. none: writes are refused instead.',
  }),

  faultInjection: onOff({
    section: 'faults',
    default: false,
    about: 'Turns the options of this section on, for drills and tests. Refused when NODE_ENV is production.',
  }),
  faultSeed: integer({
    section: 'faults',
    default: 1,
    min: 0,
    max: 4_294_967_295,
    about: 'Seed of the random choices of injected faults.',
  }),
  faultRingDelayMs: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 60_000,
    unit: 'ms',
    about: 'Longest delay of a batch between a ring and its worker; each is drawn anew.',
  }),
  faultRingDropPermille: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 1000,
    unit: 'permille',
    about: 'Share of writes and questions that are lost in a ring, and of acknowledgements that are lost on their way back.',
  }),
  faultSyncDelayMs: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 60_000,
    unit: 'ms',
    about: 'Time that each sync of the log takes longer.',
  }),
  faultSyncErrorPermille: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 1000,
    unit: 'permille',
    about: 'Share of syncs of the log that fail with an I/O error.',
  }),
  faultWriteErrorPermille: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 1000,
    unit: 'permille',
    about: 'Share of writes to the log that fail for want of room, whole or in part.',
  }),
  faultWriteDelayMs: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 1_000,
    unit: 'ms',
    about: 'Time that each write to the log takes longer. The worker stands still meanwhile, as at a disk that is slow.',
  }),
  faultPostgresDelayMs: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 60_000,
    unit: 'ms',
    about: 'Longest delay of a commit; each is drawn anew.',
  }),
  faultPostgresErrorPermille: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 1000,
    unit: 'permille',
    about: 'Share of commits that fail as if Postgres were away.',
  }),
  faultWorkerKillMs: integer({
    section: 'faults',
    default: 0,
    min: 0,
    max: 3_600_000,
    unit: 'ms',
    about: 'Mean time after which a worker thread is ended; 0 never.',
  }),
  faultLogEvents: onOff({
    section: 'faults',
    default: true,
    about: 'Writes a log line for each injected fault.',
  }),

  shutdownStorageMs: integer({
    section: 'lifecycle',
    default: 30_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    about: 'Time for the last flush after SIGTERM or SIGINT.',
    raise: 'more staged writes get through to a slow Postgres.',
    lower: 'a sooner end; what was not flushed is lost.',
  }),
  shutdownNetworkMs: integer({
    section: 'lifecycle',
    default: 10_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    about: 'Time for sessions to get their last answers after SIGTERM or SIGINT.',
    raise: 'slow clients still get their answers.',
    lower: 'a sooner end.',
  }),
  healthIntervalMs: integer({
    section: 'lifecycle',
    default: 30_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    about: 'Time between the checks of threads, rings and Postgres that /health reports.',
    raise: 'a fault shows later.',
    lower: 'a fault shows sooner, for a little CPU.',
  }),
  logLevel: choice({
    section: 'lifecycle',
    words: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    default: 'info',
    about: 'Least severe kind of log line written to stderr.',
    raise: 'debug adds what the embedded Postgres writes; a line costs about 27 µs. trace adds nothing to it.',
  }),
};

export type OptionName = keyof typeof DEFINITIONS;

/** The values of all options. Thread counts and `dataDir` are settled: never 0 and never empty. */
export type Config = { readonly [Name in OptionName]: z.output<(typeof DEFINITIONS)[Name]['schema']> };

/** An option with all its names. */
export interface NamedOption extends Option<unknown> {
  readonly name: OptionName;
  readonly flag: string;
  readonly env: readonly string[];
}

/** All options, in the order of help and tables. */
export const OPTIONS: readonly NamedOption[] = Object.freeze(optionNames().map(named));

/** Judges a whole configuration; the parts were judged, with better words, where they came from. */
export const CONFIG_SCHEMA = z.strictObject(Object.fromEntries(OPTIONS.map(({ name, schema }) => [name, schema])));

export function isConfig(values: unknown): values is Config {
  return CONFIG_SCHEMA.safeParse(values).success;
}

function optionNames(): OptionName[] {
  return Object.keys(DEFINITIONS).filter(isOptionName);
}

export function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(DEFINITIONS, name);
}

function named(name: OptionName): NamedOption {
  const option: Option<unknown> = DEFINITIONS[name];
  const words = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const env = option.env ?? [`LATTICE_${words.replaceAll('-', '_').toUpperCase()}`];
  return { ...option, name, flag: `--${words}`, env };
}
