import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DockerfileParser, type Instruction, JSONInstruction } from 'dockerfile-ast';
import { packageFolder } from '../workers/package-folder.ts';

const text = readFileSync(join(packageFolder(), 'Dockerfile'), 'utf8');
const dockerfile = DockerfileParser.parse(text);
const stages = dockerfile.getFROMs();
const lastFromLine = stages.at(-1)?.getRange().start.line ?? 0;
const instructions = dockerfile.getInstructions();
const build = instructions.filter((instruction) => instruction.getRange().start.line < lastFromLine);
const runtime = instructions.filter((instruction) => instruction.getRange().start.line > lastFromLine);

function wordsOf(of: readonly Instruction[], keyword: string): string[] {
  return of.filter((instruction) => instruction.getKeyword() === keyword).map((instruction) => argumentsOf(instruction));
}

/** The instruction's words with single spaces, whatever its line breaks. */
function argumentsOf(instruction: Instruction): string {
  return instruction
    .getArguments()
    .map((argument) => argument.getValue())
    .join(' ');
}

test('there are two stages, both on glibc with Node 22', () => {
  assert.deepEqual(
    stages.map((stage) => stage.getImage()),
    ['node:22-bookworm-slim', 'node:22-bookworm-slim'],
  );
  assert.equal(stages[0]?.getBuildStage(), 'build');
});

test('the first stage installs by the lock file, builds, and drops what only building needs', () => {
  const runs = wordsOf(build, 'RUN').join(' && ');
  const steps = ['npm ci', 'npm run --silent build', 'npm prune --omit=dev', "-name '*.node' ! -name"];
  const places = steps.map((step) => runs.indexOf(step));
  assert.ok(
    places.every((place) => place >= 0),
    `missing: ${steps.filter((_, index) => (places[index] ?? -1) < 0).join(', ')}`,
  );
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
  );
});

test('package files are copied before the sources, so that a change of a source does not install again', () => {
  const copies = build.filter((instruction) => instruction.getKeyword() === 'COPY');
  const install = build.find((instruction) => instruction.getKeyword() === 'RUN');
  const line = (instruction: Instruction | undefined): number => instruction?.getRange().start.line ?? -1;
  assert.match(argumentsOf(copies[0] as Instruction), /^package\.json package-lock\.json/);
  assert.ok(line(copies[0]) < line(install));
  assert.ok(copies.slice(1).every((copy) => line(copy) > line(install)));
});

test('the second stage takes packages and dist from the first, and no sources', () => {
  for (const copy of wordsOf(runtime, 'COPY')) {
    assert.match(copy, /^(\/app\/node_modules node_modules|\/app\/dist dist|package\.json LICENSE \.\/)$/);
  }
});

test('the server runs as node, and owns /data', () => {
  assert.deepEqual(wordsOf(runtime, 'USER'), ['node']);
  assert.deepEqual(wordsOf(runtime, 'VOLUME'), ['/data']);
  assert.match(wordsOf(runtime, 'RUN').join(' '), /mkdir \/data && chown node:node \/data/);
  const user = runtime.find((instruction) => instruction.getKeyword() === 'USER');
  const later = runtime.slice(runtime.indexOf(user as Instruction) + 1);
  assert.ok(later.every((instruction) => !['RUN', 'COPY', 'ADD'].includes(instruction.getKeyword())));
});

test('the command is in exec form, so that the signal reaches the server', () => {
  const [command] = dockerfile.getCMDs();
  assert.ok(command instanceof JSONInstruction);
  assert.deepEqual(
    command.getJSONStrings().map((word) => word.getJSONValue()),
    ['node', '--enable-source-maps', 'dist/gateway/cli.js', 'start'],
  );
  assert.deepEqual(wordsOf(runtime, 'STOPSIGNAL'), ['SIGTERM']);
  assert.equal(dockerfile.getENTRYPOINTs().length, 0);
});

test('the health check asks the server by node, which the image has, by TLS where that is spoken', async (t) => {
  const [check] = dockerfile.getHEALTHCHECKs();
  const [, words = '[]'] = /CMD (\[.*\])/.exec(check === undefined ? '' : argumentsOf(check)) ?? [];
  const [program, ...args]: string[] = JSON.parse(words);
  assert.equal(program, 'node');
  const pem = (name: string): Buffer => readFileSync(join(packageFolder(), 'gateway', 'fixtures', 'tls', name));
  const certFile = 'any.pem';
  let status = 200;
  const asked: string[] = [];
  const answer: RequestListener = (request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(status).end();
  };
  for (const [server, env] of [
    [createServer(answer), {}],
    [createTlsServer({ cert: pem('one.cert.pem'), key: pem('one.key.pem') }, answer), { LATTICE_TLS_CERT_FILE: certFile }],
  ] as const) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const address = server.address();
    const port = String(typeof address === 'object' ? address?.port : 0);
    const result = (): Promise<number | null> =>
      new Promise((resolve) => {
        const child = spawn(process.execPath, args, { env: { ...process.env, ...env, LATTICE_PORT: port }, stdio: 'ignore' });
        child.on('close', resolve);
      });
    status = 200;
    assert.equal(await result(), 0);
    status = 503;
    assert.equal(await result(), 1);
  }
  assert.deepEqual([...new Set(asked)], ['/health/ready']);
});

test('the image holds no secret, and its settings are options of the server', () => {
  const settings = dockerfile.getENVs().flatMap((env) => env.getProperties().map((property) => property.getName()));
  assert.deepEqual(settings.toSorted(), ['LATTICE_DATA_DIR', 'LATTICE_HOST', 'LATTICE_PORT', 'NODE_ENV']);
  assert.ok(!/^\s*(ENV|ARG)\s+.*(SECRET|PASSWORD|DATABASE_URL)/m.test(text));
});

test('compose demands a secret, binds all addresses and leaves a minute for the end', () => {
  const compose = readFileSync(join(packageFolder(), 'docker-compose.yml'), 'utf8');
  const [, lattice = '', postgres = ''] = /^ {2}lattice:\n([\s\S]*?)^ {2}postgres:\n([\s\S]*?)^\S/m.exec(compose) ?? [];
  assert.match(lattice, /JWT_SECRET: \$\{JWT_SECRET:\?/);
  assert.match(lattice, /LATTICE_HOST: 0\.0\.0\.0/);
  assert.match(lattice, /stop_grace_period: 60s/);
  assert.match(lattice, /condition: service_healthy/);
  assert.match(postgres, /image: postgres:16/);
  assert.match(postgres, /pg_isready/);
  assert.ok(!postgres.includes('ports:'));
});
