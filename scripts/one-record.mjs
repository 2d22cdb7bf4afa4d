/**
 * Writes one record over a WebSocket and reads it back over another: node scripts/one-record.mjs ws://127.0.0.1:8080/ws
 *
 * With JWT_SECRET in the environment it signs a token for itself (HS256). It exits 0 when the record came back as it was
 * written. It stands on Node alone, but for the codec and the signature, so that it also runs against a container.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { SignJWT } from 'jose';
import { pack, unpack } from 'msgpackr';

const ANSWER_DEADLINE_MS = 15_000;
const MAP = 'container-check';
/** Opcode of a binary frame. */
const BINARY = 2;

const url = process.argv[2];
if (url === undefined) {
  process.stderr.write('usage: node scripts/one-record.mjs ws://HOST:PORT/ws\n');
  process.exit(2);
}

const deadline = setTimeout(() => {
  process.stderr.write(`no answer of ${url} within ${ANSWER_DEADLINE_MS} ms\n`);
  process.exit(1);
}, ANSWER_DEADLINE_MS);

const key = randomUUID();
const value = { text: 'written over one connection', number: Math.trunc(Date.now() / 1000) };
await writeRecord();
const found = await readRecord();
clearTimeout(deadline);
if (JSON.stringify(found) !== JSON.stringify(value)) {
  process.stderr.write(`wrote ${JSON.stringify(value)} and read ${JSON.stringify(found)}\n`);
  process.exit(1);
}
process.stdout.write(`one record written and read back over ${url}\n`);

async function writeRecord() {
  const client = await connect();
  const timestamp = { millis: Date.now(), counter: 0, nodeId: 'one-record' };
  const op = { id: '1', mapName: MAP, key, opType: 'PUT', record: { value, timestamp } };
  client.send({ type: 'OP_BATCH', payload: { ops: [op] } });
  const ack = await client.next('OP_ACK');
  if (ack.payload.lastId !== '1') throw new Error(`acknowledged ${ack.payload.lastId}`);
  client.close();
}

/** Walks the map's Merkle tree, every bucket of it, until a leaf holds the key. */
async function readRecord() {
  const client = await connect();
  client.send({ type: 'SYNC_INIT', mapName: MAP, lastSyncTimestamp: 0 });
  await client.next('SYNC_RESP_ROOT');
  const paths = [''];
  while (paths.length > 0) {
    client.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: MAP, path: paths.pop() } });
    const { type, payload } = await client.next('SYNC_RESP_BUCKETS', 'SYNC_RESP_LEAF');
    if (type === 'SYNC_RESP_BUCKETS') paths.push(...Object.keys(payload.buckets).map((digit) => payload.path + digit));
    else {
      const found = payload.records.find((record) => record.key === key);
      if (found !== undefined) {
        client.close();
        return found.record.value;
      }
    }
  }
  throw new Error('the record is in no leaf of the tree');
}

/** A connection that is ready: authenticated where the server asks for it. */
async function connect() {
  const client = await openWebSocket(new URL(url));
  if (process.env.JWT_SECRET) {
    const secret = new TextEncoder().encode(process.env.JWT_SECRET);
    const token = await new SignJWT({ sub: 'one-record' })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime('5m')
      .sign(secret);
    client.send({ type: 'AUTH', token });
    await client.next('AUTH_ACK');
  } else {
    client.send({ type: 'DEVICE_HELLO' });
    await client.next('DEVICE_ACK');
  }
  return client;
}

/** As much of RFC 6455 as is needed: whole binary frames either way. Node 20 has no WebSocket of its own. */
function openWebSocket({ hostname, port, pathname, search }) {
  const nonce = randomBytes(16).toString('base64');
  const accept = createHash('sha1').update(`${nonce}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': nonce };
  return new Promise((resolve, reject) => {
    const upgrade = request({ hostname, port, path: pathname + search, headers });
    upgrade.on('error', reject);
    upgrade.on('response', (response) => reject(new Error(`upgrade refused with ${response.statusCode}`)));
    upgrade.on('upgrade', (response, socket, head) => {
      if (response.headers['sec-websocket-accept'] !== accept) reject(new Error('not a WebSocket server'));
      else resolve(clientOf(socket, head));
    });
    upgrade.end();
  });
}

function clientOf(socket, head) {
  const arrived = [];
  let waiting;
  let bytes = Buffer.alloc(0);
  const onBytes = (more) => {
    bytes = Buffer.concat([bytes, more]);
    for (let frame = takeFrame(); frame !== undefined; frame = takeFrame()) {
      if (frame.opcode === BINARY) arrived.push(unpack(frame.payload));
    }
    waiting?.();
  };
  const takeFrame = () => {
    const frame = parseFrame(bytes);
    if (frame !== undefined) bytes = bytes.subarray(frame.end);
    return frame;
  };
  socket.on('data', onBytes);
  socket.on('error', (error) => process.stderr.write(`${error.message}\n`));
  if (head.length > 0) onBytes(head);
  return {
    send: (message) => socket.write(maskedFrame(pack(message))),
    close: () => socket.destroy(),
    /** The next message of one of `types`; others are passed over. */
    async next(...types) {
      for (;;) {
        const index = arrived.findIndex((message) => types.includes(message.type));
        if (index >= 0) return arrived.splice(index, 1)[0];
        const failed = arrived.find((message) => ['AUTH_FAIL', 'ERROR', 'OP_REJECTED'].includes(message.type));
        if (failed !== undefined) throw new Error(`the server answered ${JSON.stringify(failed)}`);
        await new Promise((resolve) => {
          waiting = resolve;
        });
      }
    },
  };
}

/** First frame of `bytes`, whose server sends it unmasked; undefined while it is not whole. */
function parseFrame(bytes) {
  if (bytes.length < 2) return undefined;
  const short = bytes[1] & 0x7f;
  const start = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  if (bytes.length < start + length) return undefined;
  return { opcode: bytes[0] & 0x0f, payload: bytes.subarray(start, start + length), end: start + length };
}

function maskedFrame(payload) {
  const header =
    payload.length < 126 ? Buffer.from([0x80 | payload.length]) : Buffer.from([0xfe, payload.length >> 8, payload.length & 0xff]);
  const mask = randomBytes(4);
  const masked = Buffer.from(payload.map((byte, index) => byte ^ mask[index % 4]));
  return Buffer.concat([Buffer.from([0x80 | BINARY]), header, mask, masked]);
}
