import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, readBlob, readManifest } from '#core/oci/content.ts';
import { digestOf } from '#core/oci/digest.ts';
import { EMPTY_CONFIG, EMPTY_CONFIG_BYTES, OCI_MANIFEST } from '#core/oci/media-types.ts';
import type { Descriptor } from '#core/oci/port.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from '#core/oci/registry-client.ts';
import { describeRegistry } from '../contract/registry.ts';
import { KINDS, serveDistribution, serveOlareg, USER, type Kind, type Served } from './registries.ts';
import { findProgram } from './tools.ts';

const START_MS = 600_000;
const signal = () => AbortSignal.timeout(120_000);
const SIGNATURE = 'application/vnd.test.signature';
const BILL = 'application/vnd.test.bill';
const MANY_TAGS = 1_030;
const AT_ONCE = 8;

const programs = new Map<string, string>();
for (const program of new Set(KINDS.flatMap((kind) => kind.program ?? []))) {
  programs.set(program, (await findProgram(program)) ?? '');
}
const programOf = ({ program }: Kind) => (program === undefined ? 'built in' : (programs.get(program) ?? ''));

function clientOf(served: Served, options: Partial<RegistryClientOptions> = {}): RegistryClient {
  const plainHttpHosts = [served.host, ...(served.tokens === undefined ? [] : [served.tokens.host])];
  return createRegistryClient({ plainHttpHosts, credentials: () => served.credentials, ...options });
}

const pushedBlob = async (client: RegistryClient, host: string, name: string, bytes: Uint8Array, type: string) => {
  const content = contentOf(bytes, type);
  await client.pushBlob({ host, name }, content, signal());
  return content.descriptor;
};

async function pushArtifact(
  client: RegistryClient,
  { host, name, tag, type }: { host: string; name: string; tag?: string; type: string },
  more: { subject?: Descriptor; annotations?: Record<string, string> } = {},
): Promise<Descriptor> {
  const config = await pushedBlob(client, host, name, EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
  const layers = [await pushedBlob(client, host, name, randomBytes(1_000), 'application/octet-stream')];
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, artifactType: type, config, layers, ...more };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return client.pushManifest({ host, name }, tag ?? digestOf(bytes), { bytes, mediaType: OCI_MANIFEST }, signal());
}

for (const kind of KINDS) {
  const program = programOf(kind);
  describe.skipIf(program === '')(`at ${kind.name}`, () => {
    describeRegistry(kind.name, () => kind.serve(program));

    describe('beyond the common', () => {
      let served: Served;
      let client: RegistryClient;
      const repository = () => ({ host: served.host, name: 'infra/more' });
      beforeAll(async () => {
        served = await kind.serve(program);
        client = clientOf(served);
      }, START_MS);
      afterAll(async () => {
        await client?.close();
        await served?.close();
      });

      it('lists what was attached, by its API or by the tag the specification names', async () => {
        const artifact = { ...repository(), type: 'application/vnd.test.program' };
        const subject = await pushArtifact(client, { ...artifact, tag: 'signed' });
        expect(await client.referrers(repository(), subject.digest, {}, signal())).toEqual([]);
        const annotations = { by: 'the test' };
        const signature = await pushArtifact(client, { ...repository(), type: SIGNATURE }, { subject, annotations });
        const bill = await pushArtifact(client, { ...repository(), type: BILL }, { subject });

        const all = await client.referrers(repository(), subject.digest, {}, signal());
        const types = Object.fromEntries(all.map(({ digest, artifactType }) => [digest, artifactType]));
        expect(types).toEqual({ [signature.digest]: SIGNATURE, [bill.digest]: BILL });
        expect(all).toHaveLength(2);
        const signatures = await client.referrers(repository(), subject.digest, { artifactType: SIGNATURE }, signal());
        expect(signatures).toMatchObject([{ digest: signature.digest, annotations }]);
        const tags = await client.tags(repository(), signal());
        expect(tags.includes(subject.digest.replace(':', '-'))).toBe(!served.hasReferrersApi);
      });

      it('takes a blob in chunks and gives it back', async () => {
        const chunked = clientOf(served, { chunkBytes: 64 * 1024 });
        try {
          const bytes = randomBytes(200_000);
          const content = contentOf(bytes, 'application/octet-stream');
          expect(await chunked.pushBlob(repository(), content, signal())).toEqual({ existed: false });
          const read = await readBlob(client, repository(), content.descriptor, bytes.byteLength, signal());
          expect(read.equals(bytes)).toBe(true);
        } finally {
          await chunked.close();
        }
      });

      it('lends a blob of another repository', async () => {
        const bytes = randomBytes(10_000);
        const { descriptor, open } = contentOf(bytes, 'application/octet-stream');
        await client.pushBlob({ host: served.host, name: 'infra/lender' }, { descriptor, open }, signal());
        const borrowed = { host: served.host, name: 'infra/borrower' };
        await client.pushBlob(borrowed, { descriptor, open, mountFrom: 'infra/lender' }, signal());
        expect((await readBlob(client, borrowed, descriptor, bytes.byteLength, signal())).equals(bytes)).toBe(true);
      });

      it.skipIf(kind.pagesAreKnown === true)('lists more tags than fit on a page', async () => {
        const many = { host: served.host, name: 'infra/many' };
        const first = await pushArtifact(client, { ...many, tag: 'first', type: SIGNATURE });
        const manifest = await readManifest(client, many, first, signal());
        const names = Array.from({ length: MANY_TAGS }, (_, index) => `v${index}`);
        const rest = [...names];
        await Promise.all(
          Array.from({ length: AT_ONCE }, async () => {
            for (let tag = rest.pop(); tag !== undefined; tag = rest.pop()) {
              await client.pushManifest(many, tag, manifest, signal());
            }
          }),
        );
        expect((await client.tags(many, signal())).toSorted()).toEqual([...names, 'first'].toSorted());
      });
    });
  });
}

describe.skipIf(programs.get('registry-distribution') === '')('the tokens of distribution 3', () => {
  it('are asked for once for pulls and once for pushes, however much is moved', async () => {
    const served = await serveDistribution(programs.get('registry-distribution') ?? '', { auth: 'token' });
    const client = clientOf(served);
    try {
      const artifact = { host: served.host, name: 'infra/tokens', type: SIGNATURE };
      for (const tag of ['a', 'b', 'c']) await pushArtifact(client, { ...artifact, tag });
      for (const tag of ['a', 'b', 'c']) await client.resolve(artifact, tag, signal());
      const scopes = served.tokens?.asked.map((each) => each.scopes.join(' '));
      expect(scopes).toEqual(['repository:infra/tokens:pull,push']);
    } finally {
      await client.close();
      await served.close();
    }
  });
});

describe.skipIf(programs.get('olareg') === '')('a registry that limits how often it is asked', () => {
  it('gets everything all the same, more slowly', async () => {
    const served = await serveOlareg(programs.get('olareg') ?? '', { more: ['--rate-limit=20'] });
    const client = clientOf(served);
    try {
      const artifact = { host: served.host, name: 'infra/limited', type: SIGNATURE };
      const { digest } = await pushArtifact(client, { ...artifact, tag: 'first' });
      const tags = Array.from({ length: 24 }, (_, index) => `v${index}`);
      await Promise.all(tags.map((tag) => client.tag(artifact, digest, tag, signal())));
      expect((await client.tags(artifact, signal())).length).toBe(25);
    } finally {
      await client.close();
      await served.close();
    }
  });
});

it.skipIf(programs.get('olareg') === '')('the warnings of a registry are told once', async () => {
  const warning = 'This registry will be removed soon.';
  const served = await serveOlareg(programs.get('olareg') ?? '', { more: [`--warning=${warning}`] });
  const told: string[] = [];
  const client = clientOf(served, { onWarning: (host, text) => told.push(`${host}: ${text}`) });
  try {
    await pushArtifact(client, { host: served.host, name: 'infra/warned', tag: 'prod', type: SIGNATURE });
    expect(told).toEqual([`${served.host}: ${warning}`]);
  } finally {
    await client.close();
    await served.close();
  }
});

it.skipIf(programs.get('registry-distribution') === '')(
  'a user the token server does not know gets nothing',
  async () => {
    const served = await serveDistribution(programs.get('registry-distribution') ?? '', { auth: 'token' });
    const client = clientOf(served, { credentials: () => ({ ...USER, password: 'wrong' }) });
    try {
      const failed = client.resolve({ host: served.host, name: 'infra/more' }, 'prod', signal());
      await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'SourceUnauthorized' });
    } finally {
      await client.close();
      await served.close();
    }
  },
);
