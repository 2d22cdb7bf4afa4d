/** Records over HTTP on a real grid: the same records as over the WebSocket. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import test, { describe } from 'node:test';
import { encode } from '../../engine/protocol/codec.ts';
import { SharedNode } from '../testing/shared-node.ts';
import { eventually } from '../testing/test-grid.ts';
import { uniqueName } from '../testing/wire-ops.ts';

const node = new SharedNode();

const at = (path: string): string => `http://127.0.0.1:${node.port}${path}`;
const ask = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(at(path), {
    method,
    headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const errorOf = async (response: Response): Promise<Record<string, unknown>> => Object(await response.json());

/** What comes back for these bytes until the server closes; `more` is sent again and again as long as it does not. */
function answerTo(bytes: string, more?: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(node.port, '127.0.0.1', () => socket.write(bytes));
    const send = (): void => {
      if (socket.writable && more !== undefined) socket.write(more, () => setImmediate(send));
    };
    socket.once('connect', send);
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text;
    });
    socket.on('error', () => {}); // is cut off in the middle of a chunk
    socket.on('close', () => resolve(answer));
  });
}

/** What comes back on one connection for requests that are sent one after the other, each behind the answer to the one before. */
function answersTo(requests: readonly string[], count: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    let sent = 0;
    const socket = connect(node.port, '127.0.0.1');
    const next = (): void => void socket.write(requests[sent++] ?? '');
    socket.once('connect', next);
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text;
      const answered = answer.match(/\r\n\r\n/g)?.length ?? 0;
      if (answered === count) resolve(answer);
      else if (answered === sent) next();
      if (answered === count) socket.destroy();
    });
    socket.on('error', reject);
  });
}

describe('one key', () => {
  test('an answer without a body has no length, and its connection takes the next request', async () => {
    const path = `/maps/${uniqueName('bodiless')}/k`;
    assert.equal((await ask('PUT', path, 1)).headers.get('content-length'), '0', '201 may have a body');
    const etag = (await ask('GET', path)).headers.get('etag') ?? assert.fail('it has a tag');
    const bodiless = [
      await ask('GET', path, undefined, { 'if-none-match': etag }),
      await ask('PUT', path, 2),
      await ask('DELETE', path),
    ];
    assert.deepEqual(
      bodiless.map(({ status, headers }) => [status, headers.get('content-length')]),
      [
        [304, null],
        [204, null],
        [204, null],
      ],
    );
    const put = `PUT ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1`;
    const remove = `DELETE ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
    const answer = await answersTo([put, remove, put, put], 4);
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 201', 'HTTP/1.1 204', 'HTTP/1.1 201', 'HTTP/1.1 204']);
  });

  test('written by a client is what curl reads, and written by curl what the client sees', async () => {
    const map = uniqueName('todos');
    const ann = await node.client('ann').connected();
    ann.set(map, 'milk', { text: 'buy milk', done: false });
    await ann.settled();
    const read = await ask('GET', `/maps/${map}/milk`);
    assert.equal(read.status, 200);
    assert.deepEqual(await read.json(), { text: 'buy milk', done: false });
    const { millis, counter } = ann.lww(map).records.get('milk')?.timestamp ?? assert.fail('ann has it');
    assert.equal(read.headers.get('etag'), `"${millis}:${counter}:ann"`);

    const written = await ask('PUT', `/maps/${map}/milk`, { text: 'buy milk', done: true });
    assert.equal(written.status, 204);
    assert.equal(written.headers.get('lattice-level'), 'APPLIED');
    await eventually(() => assert.deepEqual(ann.get(map, 'milk'), { text: 'buy milk', done: true }));
    const stamp = ann.lww(map).records.get('milk')?.timestamp ?? assert.fail('ann has it');
    assert.equal(written.headers.get('etag'), `"${stamp.millis}:${stamp.counter}:${encodeURIComponent(stamp.nodeId)}"`);

    assert.equal((await ask('DELETE', `/maps/${map}/milk`)).status, 204);
    await eventually(() => assert.equal(ann.get(map, 'milk'), undefined));
    assert.equal((await ask('GET', `/maps/${map}/milk`)).status, 404);
    assert.equal((await ask('DELETE', `/maps/${map}/milk`)).status, 404);
  });

  test('created is answered without a body, which says so: nobody waits for one', async () => {
    const created = await ask('PUT', `/maps/${uniqueName('empty')}/k`, 1);
    assert.deepEqual([created.status, created.headers.get('content-length')], [201, '0']);
    assert.equal(await created.text(), '');
  });

  test('written here wins over a clock that is ahead of the server’s', async () => {
    const map = uniqueName('ahead');
    const fast = await node.client('fast').connected();
    fast.clock.update({ millis: Date.now() + 30_000, counter: 0 });
    fast.set(map, 'k', 'early');
    await fast.settled();
    await ask('PUT', `/maps/${map}/k`, 'late');
    assert.equal(await (await ask('GET', `/maps/${map}/k`)).json(), 'late');
    await eventually(() => assert.equal(fast.get(map, 'k'), 'late'));
  });

  test('may have any name that a URL can carry, and a map of other doors a colon in its own', async () => {
    const map = `${uniqueName('user')}:1`;
    for (const key of ['a/b', 'ключ 😀', 'x?y=z', '%', '__proto__']) {
      const path = `/maps/${encodeURIComponent(map)}/${encodeURIComponent(key)}`;
      assert.equal((await ask('PUT', path, key)).status, 201, key);
      assert.equal(await (await ask('GET', path)).json(), key);
    }
    assert.equal((await ask('GET', '/maps/_lattice_x/k')).status, 403);
    assert.equal((await errorOf(await ask('GET', `/maps/${'m'.repeat(600)}/k`))).error, 'INVALID_MAP_NAME');
  });
});

describe('a condition', () => {
  test('creates only what is not there, and changes only what is as it was read', async () => {
    const path = `/maps/${uniqueName('cas')}/k`;
    const created = await ask('PUT', path, 1, { 'if-none-match': '*' });
    assert.equal(created.status, 201);
    const first = created.headers.get('etag') ?? '';
    const again = await ask('PUT', path, 2, { 'if-none-match': '*' });
    assert.equal(again.status, 412);
    assert.equal(again.headers.get('etag'), first);
    assert.equal((await errorOf(again)).error, 'CONDITION_FAILED');
    const changed = await ask('PUT', path, 2, { 'if-match': first });
    assert.equal(changed.status, 204);
    assert.equal((await ask('PUT', path, 3, { 'if-match': first })).status, 412);
    assert.equal((await ask('DELETE', path, undefined, { 'if-match': first })).status, 412);
    assert.equal(await (await ask('GET', path)).json(), 2);
    const second = changed.headers.get('etag') ?? '';
    assert.equal((await ask('DELETE', path, undefined, { 'if-match': `"x", ${second}` })).status, 204);
    assert.equal((await ask('PUT', path, 4, { 'if-match': '*' })).status, 412);
    assert.equal((await ask('PUT', path, 4, { 'if-none-match': '*' })).status, 201);
    assert.equal((await ask('PUT', path, 4, { 'if-match': 'bare' })).status, 400);
  });

  test('lets one of many writers win', async () => {
    const path = `/maps/${uniqueName('race')}/k`;
    const first = (await ask('PUT', path, 0)).headers.get('etag') ?? '';
    const racers = await Promise.all(Array.from({ length: 20 }, (_, n) => ask('PUT', path, n, { 'if-match': first })));
    assert.deepEqual(racers.map(({ status }) => status).sort(), [204, ...Array.from({ length: 19 }, () => 412)].sort());
  });

  test('of a reader is 304 as long as the record is the same', async () => {
    const path = `/maps/${uniqueName('fresh')}/k`;
    const tag = (await ask('PUT', path, 'a')).headers.get('etag') ?? '';
    const same = await ask('GET', path, undefined, { 'if-none-match': tag });
    assert.equal(same.status, 304);
    assert.equal(same.headers.get('etag'), tag);
    assert.equal(await same.text(), '');
    await ask('PUT', path, 'b');
    assert.equal((await ask('GET', path, undefined, { 'if-none-match': tag })).status, 200);
  });
});

describe('a value', () => {
  test('of any JSON comes back as it was written', async () => {
    const path = `/maps/${uniqueName('values')}/k`;
    const odd = JSON.parse('{"__proto__": {"x": 1}, "constructor": 2, "toJSON": "no function", "": [[], {}]}');
    for (const value of [1.5, -0.25, true, '', 'ü\n"', [1, [2, null]], { a: { b: null } }, odd, { $binary: 'AAEC' }]) {
      await ask('PUT', path, value);
      assert.deepEqual(await (await ask('GET', path)).json(), value);
    }
  });

  test('of bytes is base64 in JSON, and plain where somebody asks for it', async () => {
    const path = `/maps/${uniqueName('bytes')}/k`;
    const bytes = Uint8Array.of(0, 1, 2, 255);
    await fetch(at(path), { method: 'PUT', body: bytes, headers: { 'content-type': 'application/octet-stream' } });
    assert.deepEqual(await (await ask('GET', path)).json(), { $binary: 'AAEC/w==' });
    const plain = await ask('GET', path, undefined, { accept: 'application/octet-stream' });
    assert.deepEqual(new Uint8Array(await plain.arrayBuffer()), bytes);
    const packed = await ask('GET', path, undefined, { accept: 'application/msgpack' });
    assert.deepEqual(new Uint8Array(await packed.arrayBuffer()), Uint8Array.from(encode(bytes)));
    await ask('PUT', path, 'text');
    assert.equal((await ask('GET', path, undefined, { accept: 'application/octet-stream' })).status, 406);
  });

  test('that is none is refused with what is wrong', async () => {
    const path = `/maps/${uniqueName('bad')}/k`;
    const put = (body: string | Uint8Array, type: string): Promise<Response> =>
      fetch(at(path), { method: 'PUT', body, headers: { 'content-type': type } });
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    for (const [body, type, status] of [
      ['{', 'application/json', 400],
      ['', 'application/json', 400],
      ['null', 'application/json', 400],
      [deep, 'application/json', 400],
      [Uint8Array.of(0xff, 0xfe), 'application/json', 400],
      [Uint8Array.of(0xc1), 'application/msgpack', 400],
      [Uint8Array.of(0x93, 1), 'application/msgpack', 400],
      ['<x/>', 'text/xml', 415],
    ] as const) {
      const response = await put(body, type);
      assert.equal(response.status, status, `${type} ${String(body).slice(0, 10)}`);
      assert.equal(Object(await response.json()).retryable, false);
    }
    assert.equal((await put('"x"', 'application/x-www-form-urlencoded')).status, 201, 'what curl -d says by itself');
  });

  test('larger than a frame may be is refused before it is read', async () => {
    const path = `/maps/${uniqueName('large')}/k`;
    const head = `PUT ${path} HTTP/1.1\r\nHost: localhost\r\n`;
    assert.match(await answerTo(`${head}Content-Length: 1000000000\r\n\r\n`), /^HTTP\/1\.1 413 /);
    const chunk = `${(64 * 1024).toString(16)}\r\n${' '.repeat(64 * 1024)}\r\n`;
    const cutOff = await answerTo(`${head}Transfer-Encoding: chunked\r\n\r\n`, chunk);
    assert.match(cutOff, /^(HTTP\/1\.1 413 |$)/, 'the answer may be lost behind what is still being sent');
    assert.equal((await ask('GET', '/health')).status, 200);
  });

  test('expires with its TTL, and says it', async () => {
    const path = `/maps/${uniqueName('ttl')}/k`;
    await ask('PUT', `${path}?ttlMs=60000`, 'kept');
    assert.equal((await ask('GET', path)).headers.get('lattice-ttl-ms'), '60000');
    await ask('PUT', path, 'gone', { 'lattice-ttl-ms': '20' });
    await eventually(async () => assert.equal((await ask('GET', path)).status, 404));
    assert.equal((await ask('PUT', `${path}?ttlMs=0`, 1)).status, 400);
    assert.equal((await ask('PUT', path, 1, { 'lattice-ttl-ms': 'soon' })).status, 400);
  });
});

describe('a level', () => {
  test('that is asked for is reached before the answer, and one that cannot be is refused before the write', async () => {
    const path = `/maps/${uniqueName('level')}/k`;
    const persisted = await ask('PUT', `${path}?level=PERSISTED`, 1);
    assert.equal(persisted.status, 201);
    assert.equal(persisted.headers.get('lattice-level'), 'PERSISTED');
    const replicated = await ask('PUT', path, 2, { 'lattice-level': 'REPLICATED' });
    assert.equal(replicated.status, 503);
    assert.equal((await errorOf(replicated)).error, 'LEVEL_UNAVAILABLE');
    assert.equal(await (await ask('GET', path)).json(), 1);
    assert.equal((await ask('PUT', `${path}?level=SURE`, 1)).status, 400);
    assert.equal((await ask('PUT', `${path}?lvl=MEMORY`, 1)).status, 400, 'an unknown parameter is no silent default');
  });
});

describe('a map', () => {
  test('is read page by page, each record once, removed ones never', async () => {
    const map = uniqueName('pages');
    const keys = Array.from({ length: 250 }, (_, n) => `k${n}`);
    const ann = await node.client('pager').connected();
    ann.together(() => {
      for (const key of keys) ann.set(map, key, { key });
    });
    ann.remove(map, 'k7');
    await ann.settled();
    const seen: string[] = [];
    let cursor = '';
    for (let pages = 0; pages < 20; pages++) {
      const response = await ask('GET', `/maps/${map}?limit=40${cursor === '' ? '' : `&cursor=${cursor}`}`);
      const page = Object(await response.json());
      for (const { key, value, etag } of page.entries) {
        assert.deepEqual(value, { key });
        assert.match(etag, /^"\d+:\d+:pager"$/);
        seen.push(key);
      }
      assert.ok(page.entries.length <= 40);
      if (page.cursor === undefined) break;
      cursor = page.cursor;
    }
    assert.deepEqual(seen.sort(), keys.filter((key) => key !== 'k7').sort());
    const { entries } = Object(await (await ask('GET', `/maps/${map}?keys=on&limit=3`)).json());
    assert.equal(entries.length, 3);
    assert.deepEqual(Object.keys(entries[0]), ['key', 'etag']);
    assert.equal((await ask('GET', `/maps/${map}?cursor=bad`)).status, 400);
    assert.equal((await ask('GET', `/maps/${map}?limit=0`)).status, 400);
    assert.deepEqual(await (await ask('GET', '/maps/nothing')).json(), { map: 'nothing', entries: [] });
  });

  test('is asked with a condition and an order, page by page', async () => {
    const map = uniqueName('tasks');
    for (let n = 0; n < 25; n++)
      await ask('PUT', `/maps/${map}/k${n}`, { n, done: n % 2 === 1, owner: { name: n < 20 ? 'ann' : 'bob' } });
    const page = async (
      parameters: Record<string, string>,
    ): Promise<Record<string, unknown> & { entries: { key: string }[] }> => {
      const response = await ask('GET', `/maps/${map}?${new URLSearchParams(parameters)}`);
      assert.equal(response.status, 200, await response.clone().text());
      return Object(await response.json());
    };
    const keysOf = ({ entries }: { entries: { key: string }[] }): string[] => entries.map(({ key }) => key);
    const where = JSON.stringify({ done: false });
    const first = await page({ where, sort: '-n', limit: '8' });
    assert.deepEqual(first.entries[0], { key: 'k24', value: { n: 24, done: false, owner: { name: 'bob' } } });
    const second = await page({ where, sort: '-n', limit: '8', cursor: String(first.cursor) });
    const even = [24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0].map((n) => `k${n}`);
    assert.deepEqual([...keysOf(first), ...keysOf(second)], even);
    assert.equal(second.cursor, undefined);
    const predicate = JSON.stringify({
      op: 'and',
      children: [
        { op: 'gte', attribute: 'n', value: 18 },
        { op: 'eq', attribute: 'owner.name', value: 'ann' },
      ],
    });
    assert.deepEqual((await page({ where: predicate, keys: 'on', sort: 'n' })).entries, [{ key: 'k18' }, { key: 'k19' }]);
    assert.equal(keysOf(await page({ sort: 'owner.name,-n', limit: '1' }))[0], 'k19');
    for (const [name, text] of [
      ['where', '{'],
      ['where', '[]'],
      ['where', '{"op":"no such thing"}'],
      ['sort', 'a,b,c,d,e,f,g,h,i'],
    ] as const)
      assert.equal((await ask('GET', `/maps/${map}?${new URLSearchParams({ [name]: text })}`)).status, 400, text.slice(0, 40));
    assert.equal((await ask('GET', `/maps/${map}?${new URLSearchParams({ where, cursor: 'bad' })}`)).status, 400);
  });

  test('fails by the name of what went wrong', async () => {
    const map = uniqueName('large');
    for (let n = 0; n < 30; n++) await ask('PUT', `/maps/${map}/k${n}`, { n: 1, text: 'x'.repeat(100_000) });
    const response = await ask('GET', `/maps/${map}?${new URLSearchParams({ where: '{"n":1}', limit: '100' })}`);
    const { error, retryable, message } = await errorOf(response);
    assert.deepEqual([response.status, error, retryable], [413, 'FRAME_TOO_LARGE', false]);
    assert.match(String(message), /^the result is larger than \d+ bytes$/);
  });
});
