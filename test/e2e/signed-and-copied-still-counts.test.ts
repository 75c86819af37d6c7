import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyArtifact } from '#core/oci/copy.ts';
import { createLayout } from '#core/oci/layout.ts';
import type { Source } from '#core/oci/port.ts';
import { verifyCosign } from '#core/oci/verify/cosign.ts';
import { verifyNotation } from '#core/oci/verify/notation.ts';
import {
  OFFLINE,
  OFFLINE_VERIFY,
  openSigning,
  runCosign,
  signingRegistries,
  trustIn,
  type Signing,
} from './signing.ts';
import { command, findProgram } from './tools.ts';

const START_MS = 900_000;
const SIGNER = 'release.example.com';
const signal = () => AbortSignal.timeout(120_000);
const [cosign = '', notation = ''] = [await findProgram('cosign'), await findProgram('notation')];
const kinds = await signingRegistries();
const cannot = cosign === '' || notation === '' || kinds.some(({ path }) => path === undefined);

describe.skipIf(cannot)('an artifact with signatures of cosign and Notation', () => {
  const open = new Map<string, Signing>();
  const at = (name: string): Signing => {
    const signing = open.get(name);
    if (signing === undefined) throw new Error(`${name} is not started`);
    return signing;
  };
  /** Keys of all tools; one HOME for every test. */
  const home = () => at(kinds[0]?.name ?? '').dir;
  const cosignKey = () => readFile(join(home(), 'cosign.pub'), 'utf8');
  const certificate = () => readFile(join(home(), '.config/notation/localkeys', `${SIGNER}.crt`), 'utf8');
  const runNotation = (...args: string[]) => command(notation, args, { cwd: home() });

  beforeAll(async () => {
    for (const kind of kinds) open.set(kind.name, await openSigning(kind));
    await runCosign(cosign, home(), ['generate-key-pair']);
    await runNotation('cert', 'generate-test', SIGNER);
    const policy = {
      version: '1.0',
      trustPolicies: [
        {
          name: 'test',
          registryScopes: ['*'],
          signatureVerification: { level: 'strict' },
          trustStores: [`ca:${SIGNER}`],
          trustedIdentities: ['*'],
        },
      ],
    };
    await writeFile(join(home(), 'policy.json'), JSON.stringify(policy));
    await runNotation('policy', 'import', 'policy.json');
  }, START_MS);
  afterAll(async () => {
    for (const signing of open.values()) await signing.close();
  });

  async function signed(signing: Signing): Promise<string> {
    const digest = await signing.artifact();
    const reference = signing.reference(digest);
    const key = ['--key=cosign.key', ...OFFLINE];
    const run = (...args: string[]) => runCosign(cosign, home(), args);
    await run('sign', ...key, reference);
    await run('sign', ...key, '--new-bundle-format=false', reference);
    await writeFile(join(home(), 'bill.json'), '{"spdxVersion":"SPDX-2.3","packages":[{"name":"left"}]}');
    await run('attest', ...key, '--type=spdxjson', '--predicate=bill.json', reference);
    const referrers = signing.hasReferrersApi ? ['--force-referrers-tag=false'] : [];
    await runNotation('sign', '--insecure-registry', ...referrers, `--key=${SIGNER}`, reference);
    return digest;
  }

  /** Everybody finds everything: the tools themselves, and we. */
  async function assertCounts(signing: Signing, digest: string): Promise<void> {
    const reference = signing.reference(digest);
    const run = (...args: string[]) => runCosign(cosign, home(), args);
    const verify = ['--key=cosign.pub', ...OFFLINE_VERIFY];
    expect(await run('verify', ...verify, reference)).toContain(digest);
    expect(await run('verify', ...verify, '--new-bundle-format=false', reference)).toContain(digest);
    expect(await run('verify-attestation', ...verify, '--type=spdxjson', reference)).toContain('payload');
    expect(await runNotation('verify', '--insecure-registry', reference)).toContain('Successfully verified');
    expect(await verifyCosign(signing.context(digest), trustIn('release', await cosignKey()))).toMatchObject({
      type: 'verified',
    });
    const stores = [{ name: SIGNER, pem: await certificate() }];
    const verdict = await verifyNotation(signing.context(digest), { level: 'strict', stores, identities: ['*'] });
    expect(verdict).toMatchObject({ type: 'verified' });
  }

  it.each([
    ['distribution 3', 'olareg'],
    ['olareg', 'distribution 3'],
  ])('is believed after a copy from %s to %s, by the tools and by us', async (from, to) => {
    const [source, target] = [at(from), at(to)];
    const digest = await signed(source);
    const request = { from: source.repository, reference: digest, to: target.repository, signal: signal() };
    const copied = await copyArtifact(source.client, target.client, { ...request, tag: 'copied' });
    expect(copied).toMatchObject({ digest, leftOut: [] });
    await assertCounts(target, digest);
  });

  it('is believed by way of a folder that is carried over an air gap', async () => {
    const [source, target] = [at('distribution 3'), at('olareg')];
    const digest = await signed(source);
    const layout = createLayout(join(source.dir, 'carried'));
    await copyArtifact(source.client, layout, {
      from: source.repository,
      reference: digest,
      to: source.repository,
      tag: 'carried',
      signal: signal(),
    });
    const offline: Source = layout;
    const context = { ...source.context(digest), source: offline };
    expect(await verifyCosign(context, trustIn('release', await cosignKey()))).toMatchObject({ type: 'verified' });
    const request = { from: source.repository, reference: 'carried', to: target.repository, signal: signal() };
    await copyArtifact(layout, target.client, { ...request, tag: 'carried' });
    await assertCounts(target, digest);
  });
});
