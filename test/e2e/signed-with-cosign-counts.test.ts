import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readManifest } from '#core/oci/content.ts';
import { verifyAttestation } from '#core/oci/verify/attestation.ts';
import { verifyCosign } from '#core/oci/verify/cosign.ts';
import type { AttestationRequirement } from '#core/oci/verify/verdict.ts';
import { OFFLINE, openSigning, runCosign, signingRegistries, trustIn, type Signing } from './signing.ts';
import { findProgram } from './tools.ts';

const START_MS = 900_000;
const cosign = (await findProgram('cosign')) ?? '';
const BUILDER = 'https://ci.example.com/builder';
const SOURCE = 'https://git.example.com/infra';
const COMMIT = '0123456789abcdef0123456789abcdef01234567';

const PROVENANCE = {
  buildDefinition: {
    buildType: 'https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1',
    externalParameters: { workflow: { repository: SOURCE, ref: 'refs/heads/main', path: 'release.yml' } },
    resolvedDependencies: [{ uri: `git+${SOURCE}@refs/heads/main`, digest: { gitCommit: COMMIT } }],
  },
  runDetails: { builder: { id: BUILDER } },
};
const BILL = {
  spdxVersion: 'SPDX-2.3',
  dataLicense: 'CC0-1.0',
  SPDXID: 'SPDXRef-DOCUMENT',
  name: 'shop',
  documentNamespace: 'https://example.com/shop',
  creationInfo: { created: '2026-01-01T00:00:00Z', creators: ['Tool: test'] },
  packages: [{ name: 'left', SPDXID: 'SPDXRef-left', versionInfo: '1.0.0', downloadLocation: 'NOASSERTION' }],
};
const scan = (severity: string) => ({
  invocation: { parameters: null, uri: '', event_id: '', 'builder.id': '' },
  scanner: {
    uri: 'pkg:github/aquasecurity/trivy@0.50.0',
    version: '0.50.0',
    db: { uri: '', version: '' },
    result: { Results: [{ Target: 'x', Vulnerabilities: [{ VulnerabilityID: 'CVE-2026-1', Severity: severity }] }] },
  },
  metadata: { scanStartedOn: '2026-01-01T00:00:00Z', scanFinishedOn: '2026-01-01T00:01:00Z' },
});

type Demands = Partial<AttestationRequirement>;

const FORMATS = [
  ['a bundle of cosign 3', []],
  ['a signature as older cosigns write it', ['--new-bundle-format=false']],
] as const;

for (const kind of await signingRegistries()) {
  describe.skipIf(kind.path === undefined || cosign === '')(`at ${kind.name}`, () => {
    let signing: Signing;
    const keys = new Map<string, string>();
    const trust = (name: string) => trustIn(name, keys.get(name) ?? '');
    const run = (...args: string[]) => runCosign(cosign, signing.dir, args);

    beforeAll(async () => {
      signing = await openSigning(kind);
      for (const name of ['release', 'stranger']) {
        await run('generate-key-pair');
        await rename(join(signing.dir, 'cosign.key'), join(signing.dir, `${name}.key`));
        await rename(join(signing.dir, 'cosign.pub'), join(signing.dir, `${name}.pub`));
        keys.set(name, await readFile(join(signing.dir, `${name}.pub`), 'utf8'));
      }
    }, START_MS);
    afterAll(() => signing?.close());

    async function sign(key: string, digest: string, ...more: readonly string[]): Promise<void> {
      await run('sign', `--key=${key}.key`, ...OFFLINE, ...more, signing.reference(digest));
    }

    async function attest(key: string, digest: string, type: string, predicate: object, ...more: readonly string[]) {
      await writeFile(join(signing.dir, 'predicate.json'), JSON.stringify(predicate));
      const what = [`--type=${type}`, '--predicate=predicate.json'];
      await run('attest', `--key=${key}.key`, ...OFFLINE, ...what, ...more, signing.reference(digest));
    }

    describe.each(FORMATS)('%s', (_, format) => {
      it('counts for the key that made it, on the artifact it was made for', async () => {
        const digest = await signing.artifact();
        await sign('release', digest, ...format);
        expect(await verifyCosign(signing.context(digest), trust('release'))).toMatchObject({
          type: 'verified',
          signers: [{ name: 'key release', digest, statement: 'artifact' }],
        });
        expect(await verifyCosign(signing.context(digest), trust('stranger'))).toMatchObject({ type: 'refused' });
        const another = await signing.artifact();
        expect(await verifyCosign(signing.context(another), trust('release'))).toMatchObject({ type: 'missing' });
      });

      it('counts beside one of a stranger, however many there are', async () => {
        const digest = await signing.artifact();
        await sign('stranger', digest, ...format);
        await sign('release', digest, ...format);
        await sign('stranger', digest, ...format);
        expect(await verifyCosign(signing.context(digest), trust('release'))).toMatchObject({ type: 'verified' });
      });

      it('with annotations counts', async () => {
        const digest = await signing.artifact();
        await sign('release', digest, ...format, '-a', 'env=prod');
        expect(await verifyCosign(signing.context(digest), trust('release'))).toMatchObject({ type: 'verified' });
      });

      it.each<[string, AttestationRequirement['type'], object, Demands, Demands]>([
        [
          'slsaprovenance1',
          'slsa-provenance',
          PROVENANCE,
          { builders: [BUILDER], sourceRepositories: [SOURCE], sourceRefs: ['refs/heads/main'] },
          { builders: ['https://laptop.example.com'] },
        ],
        ['spdxjson', 'sbom', BILL, {}, { fields: [{ path: 'dataLicense', equals: 'GPL-3.0' }] }],
        ['vuln', 'vulnerabilities', scan('HIGH'), { maxSeverity: 'high' }, { maxSeverity: 'medium' }],
        [
          'https://example.com/review/v1',
          'custom',
          { approved: true },
          { predicateType: 'https://example.com/review/v1', fields: [{ path: 'approved', equals: true }] },
          { predicateType: 'https://example.com/review/v1', fields: [{ path: 'approved', equals: false }] },
        ],
      ])('as an attestation of %s counts for what it says', async (name, type, predicate, met, unmet) => {
        const requirement: AttestationRequirement = { type, signedBy: trust('release') };
        const digest = await signing.artifact();
        await attest('release', digest, name, predicate, ...format);
        const context = signing.context(digest);
        expect(await verifyAttestation(context, { ...requirement, ...met })).toMatchObject({ type: 'verified' });
        expect(await verifyAttestation(context, { ...requirement, ...unmet })).toMatchObject({ type: 'refused' });
        const byStranger = { ...requirement, ...met, signedBy: trust('stranger') };
        expect(await verifyAttestation(context, byStranger)).toMatchObject({ type: 'refused' });
        // Whoever says how it was built does not say that it may run.
        expect(await verifyCosign(context, trust('release'))).toMatchObject({ type: 'missing' });
      });
    });

    it('a bundle that somebody attaches to another artifact does not count there', async () => {
      const [signed, victim] = [await signing.artifact(), await signing.artifact()];
      await sign('release', signed);
      const { client, repository } = signing;
      const signal = AbortSignal.timeout(60_000);
      const [bundle] = await client.referrers(repository, signed, {}, signal);
      if (bundle === undefined) throw new Error('the signature is not listed');
      const subject = await client.resolve(repository, victim, signal);
      const manifest = JSON.parse((await readManifest(client, repository, bundle, signal)).bytes.toString());
      const bytes = Buffer.from(JSON.stringify({ ...manifest, subject }));
      await client.pushManifest(repository, 'moved', { bytes, mediaType: bundle.mediaType }, signal);
      expect(await client.referrers(repository, victim, {}, signal)).toHaveLength(1);
      expect(await verifyCosign(signing.context(victim), trust('release'))).toMatchObject({ type: 'refused' });
    });
  });
}
