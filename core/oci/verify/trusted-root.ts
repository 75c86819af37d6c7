import type { TrustMaterial } from '@sigstore/verify';
import { stalled, transient } from '#core/domain/errors.ts';
import { field, parseJson } from '../body.ts';

const MEDIA_TYPE = /^application\/vnd\.dev\.sigstore\.trustedroot(\+json;version=0\.[12]|\.v0\.[12]\+json)$/;
const MAX_ROOT_BYTES = 1024 * 1024;

/**
 * Parses the text of a `trusted_root.json`; what it holds is checked when it is used.
 * @throws ReconcileError stalled SpecInvalid, `what` names the secret or file
 */
export function parseTrustedRoot(text: string, what: string): unknown {
  if (text.length > MAX_ROOT_BYTES) throw stalled('SpecInvalid', `${what} is larger than ${MAX_ROOT_BYTES} bytes`);
  const value = parseJson(Buffer.from(text));
  const mediaType = field(value, 'mediaType');
  if (typeof mediaType !== 'string' || !MEDIA_TYPE.test(mediaType)) {
    throw stalled('SpecInvalid', `${what} is no trusted_root.json of Sigstore: its media type is missing or another`);
  }
  return value;
}

/** What a trusted root has to hold for a policy. */
export interface RootNeeds {
  /** Signers are certificates: authorities and certificate logs are needed. */
  certificates: boolean;
}

/**
 * Reads the authorities and logs of a parsed `trusted_root.json` (sigstore/protobuf-specs, sigstore_trustroot.proto).
 * @throws ReconcileError stalled SpecInvalid when it cannot be read, or lacks what the policy needs
 */
export async function readTrustedRoot(value: unknown, needs: RootNeeds): Promise<TrustMaterial> {
  const mediaType = field(value, 'mediaType');
  if (typeof mediaType !== 'string' || !MEDIA_TYPE.test(mediaType)) {
    throw stalled(
      'SpecInvalid',
      'the policy needs a trusted root (trusted_root.json of a Sigstore): name its secret in `trustedRoot`, or set PLUMBLINE_SIGSTORE_TRUSTED_ROOT',
    );
  }
  const [{ TrustedRoot }, { toTrustMaterial }] = await Promise.all([
    import('@sigstore/protobuf-specs'),
    import('@sigstore/verify'),
  ]);
  const material = (() => {
    try {
      return toTrustMaterial(TrustedRoot.fromJSON(value));
    } catch (error) {
      throw stalled('SpecInvalid', 'the trusted root holds a key or certificate that cannot be read', error);
    }
  })();
  if (material.tlogs.length === 0) throw stalled('SpecInvalid', 'the trusted root names no transparency log');
  if (needs.certificates && material.certificateAuthorities.length === 0) {
    throw stalled('SpecInvalid', 'the trusted root names no certificate authority, so no identity can be known');
  }
  if (needs.certificates && material.ctlogs.length === 0) {
    throw stalled('SpecInvalid', 'the trusted root names no certificate transparency log');
  }
  return material;
}

/** Where the root of a Sigstore with a TUF repository is kept fresh from. */
export interface TufSettings {
  /** URL of the repository; undefined: nothing is fetched. */
  mirrorUrl: string | undefined;
  /** Folder its signed metadata is kept in. */
  cachePath: string;
  /** Whether what is kept is used without asking, while it is valid. */
  forceCache?: boolean;
  /** First `root.json` of a repository that @sigstore/tuf does not know. */
  rootPath?: string;
}

/**
 * The trusted root of a TUF repository, such as Sigstore's public one, as parsed JSON. Only asked for by setting.
 * @throws ReconcileError stalled SpecInvalid without the setting, transient SourceUnreachable
 */
export async function publicGoodRoot(settings: TufSettings): Promise<unknown> {
  const { mirrorUrl, cachePath, forceCache = false, rootPath } = settings;
  if (mirrorUrl === undefined || mirrorUrl === '') {
    throw stalled(
      'SpecInvalid',
      'no trusted root is at hand and nothing is fetched: mount a trusted_root.json (PLUMBLINE_SIGSTORE_TRUSTED_ROOT), or allow the fetch (PLUMBLINE_SIGSTORE_TUF)',
    );
  }
  const [{ getTrustedRoot }, { TrustedRoot }] = await Promise.all([
    import('@sigstore/tuf'),
    import('@sigstore/protobuf-specs'),
  ]);
  const options = { mirrorURL: mirrorUrl, cachePath, ...(rootPath === undefined ? {} : { rootPath }) };
  try {
    return TrustedRoot.toJSON(await getTrustedRoot({ ...options, forceCache }));
  } catch (error) {
    // What was signed for longer than the outage is as good as it was; the library refuses it once it has expired.
    const kept = await getTrustedRoot({ ...options, forceCache: true }).catch(() => undefined);
    if (kept !== undefined) return TrustedRoot.toJSON(kept);
    if (field(error, 'code') === 'TUF_INIT_CACHE_ERROR') {
      throw stalled(
        'SpecInvalid',
        `${mirrorUrl} is not the public Sigstore, whose first root.json is known: mount its trusted_root.json instead (PLUMBLINE_SIGSTORE_TRUSTED_ROOT)`,
        error,
      );
    }
    const why = error instanceof Error ? error.message : String(error);
    throw transient('SourceUnreachable', `the trusted root of ${mirrorUrl} could not be fetched: ${why}`, error);
  }
}
