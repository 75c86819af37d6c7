import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { stalled } from '#core/domain/errors.ts';
import { contentOf } from '../content.ts';
import { checked, digestOf } from '../digest.ts';
import { EMPTY_CONFIG, EMPTY_CONFIG_BYTES, OCI_MANIFEST } from '../media-types.ts';
import type { Content, Descriptor, Fetcher, Pusher, ReferrerLister, Resolver } from '../port.ts';
import { signBytes } from '../sign-key.ts';
import { BUNDLE_TYPE } from './bundle.ts';
import { hintOf } from './cosign-key.ts';
import { DSSE_ENVELOPE, SIMPLE_SIGNING } from './legacy.ts';
import { COSIGN_SIGN, IN_TOTO, preAuthEncoding, STATEMENT_V1 } from './statement.ts';
import type { CosignTrust, VerifyContext } from './verdict.ts';

export const REPOSITORY = { host: 'registry.test', name: 'team/app' };
export const NOW = new Date('2026-06-01T12:00:00Z');

export interface Keys {
  privateKey: KeyObject;
  pem: string;
}

export function makeKeys(kind: 'p256' | 'p384' | 'p521' | 'ed25519' | 'rsa' = 'p256'): Keys {
  const { privateKey } = (() => {
    switch (kind) {
      case 'ed25519':
        return generateKeyPairSync('ed25519');
      case 'rsa':
        return generateKeyPairSync('rsa', { modulusLength: 2048 });
      default:
        return generateKeyPairSync('ec', { namedCurve: { p256: 'P-256', p384: 'P-384', p521: 'P-521' }[kind] });
    }
  })();
  return { privateKey, pem: pemOf(privateKey) };
}

export function pemOf(key: KeyObject): string {
  return createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
}

export interface StatementOptions {
  digest: string;
  predicateType?: string;
  predicate?: unknown;
  type?: string;
}

export function statement({ digest, predicateType = COSIGN_SIGN, predicate = {}, type }: StatementOptions): unknown {
  const [algorithm = '', hex = ''] = digest.split(':');
  return { _type: type ?? STATEMENT_V1, subject: [{ digest: { [algorithm]: hex } }], predicateType, predicate };
}

/** A DSSE envelope by a key. */
export function envelope(content: unknown, key: KeyObject, payloadType = IN_TOTO) {
  const payload = Buffer.from(JSON.stringify(content));
  const sig = signBytes(key, preAuthEncoding(payloadType, payload)).toString('base64');
  return { payload: payload.toString('base64'), payloadType, signatures: [{ sig }] };
}

/** A bundle by a key, as cosign 3 writes it. */
export function keyBundle(content: unknown, key: KeyObject) {
  const hint = hintOf(createPublicKey(key));
  return {
    mediaType: BUNDLE_TYPE,
    verificationMaterial: { publicKey: { hint } },
    dsseEnvelope: envelope(content, key),
  };
}

/** The payload of a legacy signature. */
export function simpleSigning(digest: string, changes: object = {}): Buffer {
  const critical = {
    identity: { 'docker-reference': '' },
    image: { 'docker-manifest-digest': digest },
    type: 'cosign container image signature',
    ...changes,
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

export interface LegacyLayer {
  bytes: Buffer;
  mediaType?: string;
  annotations?: Record<string, string>;
}

/** A legacy signature by a key. */
export function legacyLayer(bytes: Buffer, key: KeyObject, annotations: Record<string, string> = {}): LegacyLayer {
  const signature = signBytes(key, bytes).toString('base64');
  return { bytes, annotations: { 'dev.cosignproject.cosign/signature': signature, ...annotations } };
}

export function attestationLayer(content: unknown, key: KeyObject): LegacyLayer {
  return { bytes: Buffer.from(JSON.stringify(envelope(content, key))), mediaType: DSSE_ENVELOPE };
}

export interface AttachOptions {
  digest?: string;
  artifactType?: string;
  annotations?: Record<string, string>;
  layers?: Descriptor[];
}

function contentDescriptor(bytes: Uint8Array, mediaType: string): Descriptor {
  return contentOf(bytes, mediaType).descriptor;
}

/** A registry in memory, which checks what it hands out as the real client does. */
export class Shelf implements Resolver, Fetcher, ReferrerLister, Pusher {
  readonly #bytes = new Map<string, Buffer>();
  readonly #manifests = new Map<string, Descriptor>();
  readonly #referrers = new Map<string, Descriptor[]>();
  fetched = 0;

  put(bytes: Buffer, mediaType: string): Descriptor {
    const descriptor = contentDescriptor(bytes, mediaType);
    this.#bytes.set(descriptor.digest, bytes);
    return descriptor;
  }

  /** Replaces the bytes of a digest, as a registry that lies would. */
  corrupt(digest: string, bytes: Buffer): void {
    this.#bytes.set(digest, bytes);
  }

  /** An artifact to sign; its digest. */
  artifact(name = 'program'): string {
    const config = contentDescriptor(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [], annotations: { name } }));
    return this.#putManifest(bytes, undefined);
  }

  #putManifest(bytes: Buffer, tag: string | undefined): string {
    const descriptor = this.put(bytes, OCI_MANIFEST);
    this.#manifests.set(tag ?? descriptor.digest, descriptor);
    this.#manifests.set(descriptor.digest, descriptor);
    return descriptor.digest;
  }

  attach(digest: string, bundle: unknown, options: AttachOptions = {}): void {
    const { artifactType = BUNDLE_TYPE, annotations } = options;
    const bytes = Buffer.isBuffer(bundle) ? bundle : Buffer.from(JSON.stringify(bundle));
    const layers = options.layers ?? [this.put(bytes, BUNDLE_TYPE)];
    const config = contentDescriptor(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, artifactType, config, layers, annotations }));
    const descriptor = this.put(manifest, OCI_MANIFEST);
    this.#enter(digest, { ...descriptor, artifactType, ...(annotations === undefined ? {} : { annotations }) });
  }

  #enter(digest: string, descriptor: Descriptor): void {
    this.#referrers.set(digest, [...(this.#referrers.get(digest) ?? []), descriptor]);
  }

  /** Lists what is not there. */
  dangle(digest: string, count: number, artifactType = BUNDLE_TYPE): void {
    for (let index = 0; index < count; index += 1) {
      this.#enter(digest, { ...contentDescriptor(Buffer.from(String(index)), OCI_MANIFEST), artifactType });
    }
  }

  /** What cosign 2 keeps beside an artifact. */
  legacy(digest: string, layers: readonly LegacyLayer[], suffix: 'sig' | 'att' = 'sig'): void {
    const descriptors = layers.map(({ bytes, mediaType = SIMPLE_SIGNING, annotations }) => ({
      ...this.put(bytes, mediaType),
      ...(annotations === undefined ? {} : { annotations }),
    }));
    const config = contentDescriptor(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
    const manifest = { schemaVersion: 2, config, layers: descriptors };
    this.#putManifest(Buffer.from(JSON.stringify(manifest)), `${digest.replace(':', '-')}.${suffix}`);
  }

  context(digest: string): VerifyContext {
    return { source: this, repository: REPOSITORY, digest, now: NOW, signal: AbortSignal.timeout(20_000) };
  }

  async resolve(_: unknown, reference: string): Promise<Descriptor> {
    const found = this.#manifests.get(reference);
    if (found === undefined) throw stalled('SourceNotFound', `${reference} is not there`);
    return found;
  }

  async referrers(_: unknown, digest: string): Promise<Descriptor[]> {
    return [...(this.#referrers.get(digest) ?? [])];
  }

  async fetch(_: unknown, { digest, size }: Descriptor): Promise<AsyncIterable<Uint8Array>> {
    this.fetched += 1;
    const bytes = this.#bytes.get(digest);
    if (bytes === undefined) throw stalled('SourceNotFound', `${digest} is not there`);
    return checked(
      (async function* () {
        yield bytes;
      })(),
      { digest, size, what: digest },
    );
  }

  async pushBlob(_: unknown, { descriptor, open }: Content): Promise<{ existed: boolean }> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of open()) chunks.push(chunk);
    this.#bytes.set(descriptor.digest, Buffer.concat(chunks));
    return { existed: false };
  }

  async pushManifest(
    _: unknown,
    reference: string,
    { bytes, mediaType }: { bytes: Buffer; mediaType: string },
  ): Promise<Descriptor> {
    if (reference !== digestOf(bytes)) throw new Error('a signature is pushed by its digest');
    const descriptor = this.put(bytes, mediaType);
    const manifest: unknown = JSON.parse(bytes.toString());
    const { subject, artifactType } = manifest as { subject: Descriptor; artifactType: string };
    this.#manifests.set(reference, descriptor);
    this.#enter(subject.digest, { ...descriptor, artifactType });
    return descriptor;
  }
}

/** A policy that trusts one key, unless it says otherwise. */
export function trusting(pem: string | undefined, policy: Partial<CosignTrust> = {}): CosignTrust {
  const keys = pem === undefined ? [] : [{ name: 'release-key', pem }];
  return { keys, identities: [], trustedRoot: undefined, requireLog: false, ...policy };
}
