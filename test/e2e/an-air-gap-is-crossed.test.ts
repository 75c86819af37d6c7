import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readManifest } from '#core/oci/content.ts';
import { copyArtifact } from '#core/oci/copy.ts';
import { createLayout } from '#core/oci/layout.ts';
import { createRegistryClient, type RegistryClient } from '#core/oci/registry-client.ts';
import { serveDistribution, serveOlareg, type Served } from './registries.ts';
import { OFFLINE, OFFLINE_VERIFY, runCosign } from './signing.ts';
import { command, findProgram } from './tools.ts';

const START_MS = 900_000;
const NAME = 'infra/shop';
const BILL = 'application/vnd.test.bill';
const programs = ['oras', 'cosign', 'registry-distribution', 'olareg'] as const;
const found = await Promise.all(programs.map((program) => findProgram(program)));
const [oras = '', cosign = '', distribution = '', olareg = ''] = found;
const signal = () => AbortSignal.timeout(120_000);

describe.skipIf(found.some((path) => path === undefined))('an artifact that oras pushed and cosign signed', () => {
  let outside: Served;
  let inside: Served;
  let client: RegistryClient;
  let dir: string;
  let digest: string;
  const run = (...args: string[]) => command(oras, args, { cwd: dir });
  const at = (host: string) => ({ host, name: NAME });

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'plumbline-air-gap-'));
    // One has no referrers API, the other has.
    [outside, inside] = [await serveDistribution(distribution), await serveOlareg(olareg)];
    client = createRegistryClient({ plainHttpHosts: [outside.host, inside.host] });
    await writeFile(join(dir, 'Pulumi.yaml'), 'name: shop\nruntime: yaml\n');
    await writeFile(join(dir, 'bill.json'), '{}');
    const reference = `${outside.host}/${NAME}:1.4.0`;
    await run('push', '--plain-http', '--artifact-type', 'application/vnd.test', reference, 'Pulumi.yaml');
    digest = (await client.resolve(at(outside.host), '1.4.0', signal())).digest;
    await run('attach', '--plain-http', '--artifact-type', BILL, reference, 'bill.json');
    await runCosign(cosign, dir, ['generate-key-pair']);
    const signed = `${outside.host}/${NAME}@${digest}`;
    for (const format of [[], ['--new-bundle-format=false']]) {
      await runCosign(cosign, dir, ['sign', '--key', 'cosign.key', ...OFFLINE, ...format, signed]);
    }
  }, START_MS);
  afterAll(async () => {
    await client?.close();
    await outside?.close();
    await inside?.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function assertSigned(host: string): Promise<void> {
    for (const format of [[], ['--new-bundle-format=false']]) {
      const args = ['verify', '--key', 'cosign.pub', ...OFFLINE_VERIFY, ...format, `${host}/${NAME}:1.4.0`];
      expect(await runCosign(cosign, dir, args)).toContain(digest);
    }
  }

  async function carried(): Promise<string> {
    const folder = await mkdtemp(join(dir, 'carried-'));
    const layout = join(folder, 'layout');
    await copyArtifact(client, createLayout(layout), {
      from: at(outside.host),
      to: { host: 'oci-layout', name: layout },
      reference: '1.4.0',
      tag: '1.4.0',
      signal: signal(),
    });
    return layout;
  }

  it('is whole in the folder, as oras reads it', async () => {
    const layout = await carried();
    expect(await run('resolve', '--oci-layout', `${layout}:1.4.0`)).toContain(digest);
    await run('pull', '--oci-layout', `${layout}:1.4.0`, '--output', `${layout}-pulled`);
    expect(await readFile(join(`${layout}-pulled`, 'Pulumi.yaml'), 'utf8')).toContain('name: shop');
    const attached = await run('discover', '--oci-layout', '--format', 'json', `${layout}:1.4.0`);
    expect(attached).toContain(BILL);
    expect(attached).toContain('application/vnd.dev.sigstore.bundle');
  });

  it('still is signed in the registry behind the gap, as cosign finds it', async () => {
    const layout = await carried();
    await copyArtifact(createLayout(layout), client, {
      from: { host: 'oci-layout', name: layout },
      to: at(inside.host),
      reference: '1.4.0',
      tag: '1.4.0',
      signal: signal(),
    });
    await assertSigned(inside.host);
    const discovered = await run('discover', '--plain-http', '--format', 'json', `${inside.host}/${NAME}:1.4.0`);
    expect(discovered).toContain(BILL);
    const back = at(outside.host);
    await copyArtifact(client, client, {
      from: at(inside.host),
      to: { ...back, name: 'infra/back' },
      reference: '1.4.0',
      tag: '1.4.0',
      signal: signal(),
    });
    const referrers = await client.referrers({ ...back, name: 'infra/back' }, digest, {}, signal());
    expect(referrers.map(({ artifactType }) => artifactType)).toContain(BILL);
  });

  it('is read from a folder that oras wrote', async () => {
    const folder = join(dir, 'by-oras');
    await run(
      'cp',
      '--recursive',
      '--from-plain-http',
      '--to-oci-layout',
      `${outside.host}/${NAME}:1.4.0`,
      `${folder}:1`,
    );
    const layout = createLayout(folder);
    const place = { host: 'oci-layout', name: folder };
    expect(await layout.tags(place, signal())).toEqual(['1']);
    expect((await layout.resolve(place, '1', signal())).digest).toBe(digest);
    const bills = await layout.referrers(place, digest, { artifactType: BILL }, signal());
    expect(bills).toHaveLength(1);
    const { bytes } = await readManifest(layout, place, bills[0]?.digest ?? '', signal());
    expect(JSON.parse(bytes.toString())).toMatchObject({ subject: { digest } });
  });
});
