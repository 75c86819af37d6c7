import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { PolicyPackRef, TenantSpec } from '#core/domain/manifest.ts';
import { parseRepository } from '#core/domain/reference.ts';
import { pushProgram } from '#core/oci/pack.ts';
import { createRegistryClient } from '#core/oci/registry-client.ts';
import { fakePack, type FakePack } from '../harness/fake-policies.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

const PACK: FakePack = { name: 'rules', rules: [{ policy: 'no-public', level: 'mandatory', forbids: 'public' }] };
const PROGRAM = {
  'Pulumi.yaml': 'name: shop\nruntime: nodejs\n',
  'program.json': JSON.stringify({ resources: { web: { access: 'public' } } }),
};

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

function under(folder: string, files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([name, text]) => [`${folder}/${name}`, text]));
}

async function require(...policyPacks: PolicyPackRef[]) {
  const spec: TenantSpec = { signatures: 'optional', policyPacks };
  await plumbline.database.db
    .updateTable('tenants')
    .set({ spec: JSON.stringify(spec) })
    .execute();
}

async function stack(...policyPacks: PolicyPackRef[]) {
  await plumbline.stack('shop', { pulumi: { stack: 'prod', policyPacks } });
}

/** Pushes the program with a layer of policies. */
async function pushWithLayer(files: Record<string, string>) {
  const dir = await mkdtemp(join(tmpdir(), 'policies-'));
  for (const [name, text] of [...Object.entries(under('program', PROGRAM)), ...Object.entries(under('layer', files))]) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), text);
  }
  const client = createRegistryClient({ plainHttpHosts: [plumbline.registryHost] });
  const repository = parseRepository(`oci://${plumbline.registryHost}/infra/shop`);
  const parts = [{ part: 'policy' as const, dir: join(dir, 'layer') }];
  await pushProgram(client, { dir: join(dir, 'program'), repository, tag: 'prod', parts }, AbortSignal.timeout(10_000));
  await client.close();
  await rm(dir, { recursive: true });
}

const oci = (name: string) => `oci://${plumbline.registryHost}/infra/${name}:1`;
/** The packs the plan of a run is bound to. */
async function packsOf(number: number): Promise<string[]> {
  const policies = (await plumbline.run('shop', number)).plan?.bound['policies'];
  const isBound = typeof policies === 'object' && policies !== null && 'packs' in policies;
  return isBound && typeof policies.packs === 'object' ? Object.keys(policies.packs ?? {}).sort() : [];
}

describe('a pack is found', () => {
  it('in a folder of the artifact', async () => {
    plumbline = await startTestPlumbline();
    await stack({ path: './policies/rules/' });
    await plumbline.push({ ...PROGRAM, ...under('policies/rules', fakePack(PACK)) });
    const { number } = await plumbline.untilRun('shop', ['policy_failed']);
    expect(await packsOf(number)).toEqual(['policies/rules']);
  });

  it('in the layer of policies, where every pack runs, named in the spec or not', async () => {
    plumbline = await startTestPlumbline();
    await stack({ path: 'second', config: { never: 'disabled' } });
    const second = { name: 'second', rules: [{ policy: 'never', level: 'mandatory' as const, forbids: 'public' }] };
    await pushWithLayer({ ...under('first', fakePack(PACK)), ...under('second', fakePack(second)) });
    const run = await plumbline.untilRun('shop', ['policy_failed']);
    expect(await packsOf(run.number)).toEqual(['first', 'second']);
    expect(run.message).toContain('rules/no-public');
    expect(run.message).not.toContain('second/never');
  });

  it('in a registry, and what the tenant requires a stack can neither drop nor weaken', async () => {
    plumbline = await startTestPlumbline();
    await plumbline.push(fakePack(PACK), '1', 'rules');
    await require({ oci: oci('rules') });
    await stack({ oci: oci('rules'), config: { 'no-public': 'disabled' } });
    await plumbline.push(PROGRAM);
    const run = await plumbline.untilRun('shop', ['policy_failed']);
    expect(run.message).toContain('rules/no-public on web');
  });
});

describe('a pack that cannot be run', () => {
  it('stalls the run by name, and the next one is unharmed', async () => {
    plumbline = await startTestPlumbline();
    let after = 0;
    await stack({ path: 'nowhere' });
    await plumbline.push({
      ...PROGRAM,
      'python/PulumiPolicy.yaml': 'runtime: python\n',
      'broken/PulumiPolicy.yaml': 'runtime: {[',
      ...under('crashes', fakePack({ ...PACK, crashes: true })),
    });
    for (const [path, reason, text] of [
      ['nowhere', 'SpecInvalid', 'policy pack in the folder nowhere'],
      ['python', 'PolicyPackFailed', 'policy pack python: its runtime is "python"'],
      ['broken', 'PolicyPackFailed', 'policy pack broken: PulumiPolicy.yaml is not valid YAML'],
      ['crashes', 'PolicyPackFailed', 'policy pack crashes does not load'],
    ] as const) {
      await stack({ path });
      const failed = await plumbline.untilRun('shop', ['errored'], after);
      expect(failed).toMatchObject({ reason, message: expect.stringContaining(text) });
      after = failed.number;
    }
    expect(plumbline.engine.log).toEqual([]);
    await stack();
    await plumbline.untilRun('shop', ['awaiting_approval'], after);
  });

  it('is not run unsigned where its signature is asked for, whatever the tenant allows programs', async () => {
    plumbline = await startTestPlumbline();
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await plumbline.secret('policy-key', {
      'cosign.pub': publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    });
    const digest = await plumbline.push(fakePack({ ...PACK, rules: [] }), '1', 'rules');
    await require({ oci: oci('rules'), verify: { cosign: { keys: ['policy-key'] } } });
    await stack();
    await plumbline.push(PROGRAM);
    const refused = await plumbline.untilRun('shop', ['errored']);
    expect(refused).toMatchObject({ reason: 'SignatureMissing', message: expect.stringContaining('policy pack 127') });
    await plumbline.sign(digest, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 'rules');
    await plumbline.post('shop', 'reconcile');
    await plumbline.untilRun('shop', ['awaiting_approval'], refused.number);
  });
});

it('a spec with packs that make no sense is refused', async () => {
  plumbline = await startTestPlumbline({ workers: false });
  const refs: [PolicyPackRef, string][] = [
    [{}, 'exactly one of path and oci'],
    [{ path: 'a', oci: 'oci://r.example/a:1' }, 'exactly one of path and oci'],
    [{ path: '../a' }, 'leads out of the artifact'],
    [{ path: 'a', credentials: 'some' }, 'belong to oci'],
    [{ oci: 'oci://r.example' }, 'is no repository reference'],
    [{ path: 'a', config: { all: 'loud' } }, 'advisory, mandatory, remediate or disabled'],
    [{ oci: 'oci://r.example/a:1', credentials: 'gone' }, 'secret gone does not exist'],
  ];
  for (const [ref, text] of refs) await expect(stack(ref)).rejects.toThrow(text);
});
