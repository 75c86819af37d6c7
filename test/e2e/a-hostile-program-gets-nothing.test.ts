import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { checkIsolation } from '#core/engine/isolation.ts';
import type { EngineRequest } from '#core/engine/port.ts';
import { withMarker } from '#core/engine/process-list.fixture.ts';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';
import { ATTEMPTS, type Targets } from './programs/hostile/attempts.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..');
const MIB = 1024 ** 2;
const marker = `9999.${Math.floor(Math.random() * 1e9)}`;
/** Only where the whole isolation works is there a promise to keep. */
const missing = await checkIsolation('filtered');

let fixture: EngineFixture;
const servers: Server[] = [];
afterAll(async () => {
  for (const server of servers) server.close();
  await fixture.close();
});

/** A port that answers everybody, as a database or Redis of the worker would. */
async function listen(host: string): Promise<number> {
  const server = createServer((socket) =>
    socket.on('error', () => undefined).end('HTTP/1.1 200 I am yours\r\nconnection: close\r\n\r\n'),
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function otherAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

async function hostile(config: Record<string, unknown>, more: Partial<EngineRequest> = {}): Promise<EngineRequest> {
  const request = await fixture.request({}, more);
  await cp(join(import.meta.dirname, 'programs/hostile'), request.programDir, { recursive: true });
  return {
    ...request,
    config: Object.fromEntries(Object.entries(config).map(([key, value]) => [key, { value, secret: false }])),
  };
}

async function readReport(request: EngineRequest, name: string): Promise<Record<string, unknown>> {
  const report: unknown = JSON.parse(await readFile(join(request.runDir, 'tmp', name), 'utf8'));
  return Object.fromEntries(Object.entries(report ?? {}));
}

beforeAll(async () => {
  fixture = await openEngineFixture();
});

describe.skipIf(missing !== undefined)('a hostile program', { timeout: 120_000 }, () => {
  let got: Record<string, unknown> = {};
  let gotByProvider: Record<string, unknown> = {};
  let open: unknown;
  let others: unknown;

  beforeAll(async () => {
    const dir = dirname(fixture.stateDir);
    const other = await fixture.request({});
    await mkdir(join(other.runDir, 'tmp'), { recursive: true });
    await writeFile(join(other.runDir, 'tmp', 'secret'), 'of another run');
    await writeFile(join(dir, 'master.key'), 'the master key');
    const address = otherAddress();
    const openPort = address === undefined ? 0 : await listen(address);
    const targets: Targets = {
      encoded: [other.passphrase, `file://${fixture.stateDir}`].map((secret) => Buffer.from(secret).toString('base64')),
      files: [
        join(other.runDir, 'tmp', 'secret'),
        other.runDir,
        join(dir, 'master.key'),
        `/proc/${process.pid}/environ`,
      ],
      caches: [
        join(CHECKOUT, 'node_modules'),
        join(CHECKOUT, 'core/engine/host'),
        dirname(inject('pulumi')),
        dirname(process.execPath),
      ],
      ports: [await listen('127.0.0.1'), await listen('::')],
      open: `${address}:${openPort}`,
      marker,
    };
    const network = { mode: 'filtered' as const, egress: [`${targets.open}`, '*'], metadata: false };
    const request = await hostile({ behaviour: 'attack', targets }, { network });
    await fixture.engine.preview(request);
    const report = await readReport(request, 'program.json');
    got = Object.fromEntries(Object.entries(report['got'] ?? {}));
    open = report['open'];
    others = report['others'];
    gotByProvider = await readReport(request, 'provider.json');
  });

  it.each(Object.keys(ATTEMPTS))('does not get %s', (name) => {
    expect(got[name]).toBe('');
  });

  it.each(Object.keys(ATTEMPTS))('does not get %s in its dynamic provider', (name) => {
    expect(gotByProvider[name]).toBe('');
  });

  it('has the engine, its host and its guardian before its eyes, so there was something to look into', () => {
    expect(others).toBeGreaterThanOrEqual(3);
  });

  it.skipIf(otherAddress() === undefined)('gets to the one host that is open, so the proxy works', () => {
    expect(open).toBe('HTTP/1.1 200 I am yours');
  });

  it('is told what it was refused, and what would open it', () => {
    expect(fixture.output()).toMatch(/egress: 192\.0\.2\.1:443 is refused: .*PLUMBLINE_EGRESS_ALLOW/);
    expect(fixture.output()).toMatch(/egress: 169\.254\.169\.254:80 is refused: .*spec\.network\.metadata: true/);
  });

  it('leaves no daemon behind', () => {
    expect(withMarker(marker)).toEqual([]);
  });

  it('writes into no cache', async () => {
    expect(await readdir(join(CHECKOUT, 'node_modules'))).not.toContain('evil');
  });

  it.each([
    ['takes more and more memory', 'hog', 'MemoryExceeded', /may use 700\. .*spec\.limits\.memoryMb/],
    ['starts more and more processes', 'bomb', 'ProcessesExceeded', /may have 60\. .*spec\.limits\.processes/],
  ])('that %s is stopped, with the reason and what to raise', async (_, behaviour, reason, message) => {
    const limits = { memoryBytes: 700 * MIB, processes: 60, fileBytes: 100 * MIB };
    const attempt = fixture.engine.preview(await hostile({ behaviour }, { limits }));
    await expect(attempt).rejects.toMatchObject({ kind: 'stalled', reason, message: expect.stringMatching(message) });
  });

  // After the two above, so it shows as well that the next run is unharmed.
  it('that prints 10 MB is planned, and a bounded part of it kept', async () => {
    const before = fixture.output().length;
    const { changes } = await fixture.engine.preview(await hostile({ behaviour: 'flood' }));
    expect(changes).toHaveLength(1);
    expect(fixture.output().length - before).toBeLessThan(80 * 1024);
  });
});

it.skipIf(missing === undefined)('a machine that cannot isolate says what is missing', () => {
  expect(missing).toMatch(/cannot be isolated/);
});
