import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { contentOf } from '#core/oci/content.ts';
import { EMPTY_CONFIG, EMPTY_CONFIG_BYTES, OCI_MANIFEST } from '#core/oci/media-types.ts';
import { createRegistryClient, type RegistryClient } from '#core/oci/registry-client.ts';
import type { CosignTrust, VerifyContext } from '#core/oci/verify/verdict.ts';
import { KINDS, type Kind, type Served } from './registries.ts';
import { command, findProgram } from './tools.ts';

const NAME = 'infra/signed';

/** Registries that signatures are tried at: one with the tag scheme, one with the API. With the path of their program. */
export async function signingRegistries(): Promise<(Kind & { path: string | undefined })[]> {
  const kinds = KINDS.filter(({ name }) => name === 'distribution 3' || name === 'olareg');
  const found = kinds.map(async (kind) => ({ ...kind, path: kind.program && (await findProgram(kind.program)) }));
  return Promise.all(found);
}

/** A registry, a client and a folder that is HOME to the tools. */
export interface Signing {
  client: RegistryClient;
  dir: string;
  /** Pushes an artifact nobody has seen before; returns its digest. */
  artifact(): Promise<string>;
  /** `host/name@digest` */
  reference(digest: string): string;
  context(digest: string): VerifyContext;
  repository: { host: string; name: string };
  hasReferrersApi: boolean;
  close(): Promise<void>;
}

/** Starts the registry for one file of tests. */
export async function openSigning(kind: Kind & { path: string | undefined }): Promise<Signing> {
  const served: Served = await kind.serve(kind.path ?? '');
  const client = createRegistryClient({ plainHttpHosts: [served.host], credentials: () => served.credentials });
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-signing-'));
  const repository = { host: served.host, name: NAME };
  const signal = () => AbortSignal.timeout(60_000);
  return {
    client,
    dir,
    repository,
    hasReferrersApi: served.hasReferrersApi,
    async artifact() {
      const layer = contentOf(randomBytes(100), 'application/vnd.oci.image.layer.v1.tar+gzip');
      const config = contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
      for (const content of [layer, config]) await client.pushBlob(repository, content, signal());
      const artifactType = 'application/vnd.test.program';
      const parts = { artifactType, config: config.descriptor, layers: [layer.descriptor] };
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, ...parts }));
      const tag = randomBytes(4).toString('hex');
      return (await client.pushManifest(repository, tag, { bytes, mediaType: OCI_MANIFEST }, signal())).digest;
    },
    reference: (digest) => `${served.host}/${NAME}@${digest}`,
    context: (digest) => ({ source: client, repository, digest, now: new Date(), signal: signal() }),
    async close() {
      await client.close();
      await served.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** The trust in one key. */
export function trustIn(name: string, pem: string): CosignTrust {
  return { keys: [{ name, pem }], identities: [], trustedRoot: undefined, requireLog: false };
}

export const PASSWORD = 'of the test';

/** Runs cosign, which reaches nothing but the registry. */
export function runCosign(cosign: string, dir: string, args: string[]): Promise<string> {
  return command(cosign, args, { cwd: dir, env: { COSIGN_PASSWORD: PASSWORD } });
}

/** What keeps cosign 3 from asking the services of Sigstore; deprecated there, with nothing as simple in its place. */
export const OFFLINE = ['--use-signing-config=false', '--tlog-upload=false', '--allow-http-registry', '--yes'] as const;
/** What verifies without a transparency log. */
export const OFFLINE_VERIFY = ['--insecure-ignore-tlog', '--allow-http-registry'] as const;
