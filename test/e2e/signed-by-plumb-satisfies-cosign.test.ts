import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKeyPair, readSigningKey, type KeyKind, type KeyPair } from '#core/oci/sign-key.ts';
import { attest, signArtifact } from '#core/oci/sign.ts';
import { verifyCosign } from '#core/oci/verify/cosign.ts';
import {
  OFFLINE,
  OFFLINE_VERIFY,
  openSigning,
  PASSWORD,
  runCosign,
  signingRegistries,
  trustIn,
  type Signing,
} from './signing.ts';
import { findProgram } from './tools.ts';

const START_MS = 900_000;
const signal = () => AbortSignal.timeout(60_000);
const cosign = (await findProgram('cosign')) ?? '';
const SLSA = 'https://slsa.dev/provenance/v1';
const PREDICATE = {
  buildDefinition: { buildType: 'https://example.com/plumb/v1', externalParameters: {}, resolvedDependencies: [] },
  runDetails: { builder: { id: 'https://example.com/plumb' } },
};

for (const kind of await signingRegistries()) {
  describe.skipIf(kind.path === undefined || cosign === '')(`at ${kind.name}`, () => {
    let signing: Signing;
    const pairs = new Map<string, KeyPair>();
    const run = (...args: string[]) => runCosign(cosign, signing.dir, args);
    const keyOf = (name: string) => readSigningKey(pairs.get(name)?.privateKey ?? '', PASSWORD);

    async function addKey(name: string, of: KeyKind): Promise<void> {
      const pair = await createKeyPair({ kind: of, password: PASSWORD });
      pairs.set(name, pair);
      await writeFile(join(signing.dir, `${name}.pub`), pair.publicKey);
      await writeFile(join(signing.dir, `${name}.key`), pair.privateKey, { mode: 0o600 });
    }

    beforeAll(async () => {
      signing = await openSigning(kind);
      await addKey('release', 'p256');
      await addKey('p384', 'p384');
      await addKey('ed25519', 'ed25519');
      await addKey('stranger', 'p256');
    }, START_MS);
    afterAll(() => signing?.close());

    const verify = (name: string, digest: string, ...more: string[]) =>
      run('verify', `--key=${name}.pub`, ...OFFLINE_VERIFY, ...more, signing.reference(digest));

    it.each<[string, string[]]>([
      ['release', []],
      // cosign does not look at the key for the hash: its own signatures by such a key need this, too.
      ['p384', ['--signature-digest-algorithm=sha384']],
      ['ed25519', []],
    ])('cosign verifies what the key %s signed, and nothing else', async (name, flags) => {
      const digest = await signing.artifact();
      const { client, repository } = signing;
      await signArtifact(client, { repository, digest, key: await keyOf(name) }, signal());
      expect(JSON.parse(await verify(name, digest, ...flags))).toMatchObject([
        { critical: { image: { 'docker-manifest-digest': digest } } },
      ]);
      await expect(verify('stranger', digest)).rejects.toThrow(/Command failed/);
      await expect(verify(name, await signing.artifact())).rejects.toThrow(/Command failed/);
    });

    it('cosign demands the annotations that were signed', async () => {
      const digest = await signing.artifact();
      const { client, repository } = signing;
      const request = { repository, digest, key: await keyOf('release'), annotations: { env: 'prod' } };
      await signArtifact(client, request, signal());
      await verify('release', digest, '-a', 'env=prod');
      await expect(verify('release', digest, '-a', 'env=test')).rejects.toThrow(/Command failed/);
    });

    it('cosign verifies an attestation', async () => {
      const digest = await signing.artifact();
      const { client, repository } = signing;
      const statement = { predicateType: SLSA, predicate: PREDICATE };
      await attest(client, { repository, digest, key: await keyOf('release'), ...statement }, signal());
      const verifyAttestation = (name: string, type: string) =>
        run('verify-attestation', `--key=${name}.pub`, `--type=${type}`, ...OFFLINE_VERIFY, signing.reference(digest));
      expect(await verifyAttestation('release', 'slsaprovenance1')).toContain('"payload"');
      await expect(verifyAttestation('stranger', 'slsaprovenance1')).rejects.toThrow(/Command failed/);
      await expect(verifyAttestation('release', 'spdxjson')).rejects.toThrow(/Command failed/);
    });

    it('cosign signs with a private key we made', async () => {
      const digest = await signing.artifact();
      await run('sign', '--key=release.key', ...OFFLINE, signing.reference(digest));
      const trust = trustIn('release', pairs.get('release')?.publicKey ?? '');
      expect(await verifyCosign(signing.context(digest), trust)).toMatchObject({ type: 'verified' });
    });

    it('we sign with a private key cosign made', async () => {
      const digest = await signing.artifact();
      await run('generate-key-pair', '--output-key-prefix=theirs');
      const { client, repository, dir } = signing;
      const key = await readSigningKey(await readFile(join(dir, 'theirs.key'), 'utf8'), PASSWORD);
      await signArtifact(client, { repository, digest, key }, signal());
      expect(await verify('theirs', digest)).toContain(digest);
    });
  });
}
