import type { JWK, JWTPayload } from 'jose';
import { ConfigError, isKms, type Config } from '#core/config.ts';
import { isLoopbackName } from '#core/oci/address-guard.ts';
import { openFolderKeys } from './folder-keys.ts';
import { ALGORITHM, type KeyRing } from './key-ring.ts';
import { openKmsKeys } from './kms-keys.ts';

/** Paths below the public URL (OpenID Connect Discovery 1.0, section 4). */
export const CONFIGURATION_PATH = '/.well-known/openid-configuration';
export const KEYS_PATH = '/.well-known/jwks.json';

/** Claims beside the registered ones, by which a cloud may narrow its trust. */
export const OWN_CLAIMS = ['tenant', 'stack', 'op', 'run', 'digest'] as const;

/** Issues tokens that clouds trust by the public URL of this service. */
export interface IdentityIssuer {
  /** The `iss` of every token. */
  url: string;
  configuration(): Record<string, unknown>;
  /** The key set at a time, in milliseconds since 1970. */
  keySet(now: number): Promise<{ keys: JWK[] }>;
  /** A signed token with exactly these claims. */
  issue(claims: JWTPayload, now: number, signal: AbortSignal): Promise<string>;
}

/** The issuer as clouds compare it: without a slash at the end. @throws ConfigError */
function readPublicUrl(text: string): string {
  const url = URL.parse(text);
  const isLocal = url?.protocol === 'http:' && isLoopbackName(url.hostname);
  const isPlain = url?.search === '' && url.hash === '' && url.username === '' && url.password === '';
  if (url === null || !isPlain || (url.protocol !== 'https:' && !isLocal))
    throw new ConfigError(
      `PLUMBLINE_PUBLIC_URL: ${JSON.stringify(text)} is not a URL with https:// and without a query, which clouds ask for`,
    );
  return url.href.replace(/\/+$/, '');
}

/** An issuer of this URL with these keys. */
export function createIssuer(publicUrl: string, keys: KeyRing): IdentityIssuer {
  const url = readPublicUrl(publicUrl);
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return {
    url,
    configuration: () => ({
      issuer: url,
      jwks_uri: `${url}${KEYS_PATH}`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: [ALGORITHM],
      claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', ...OWN_CLAIMS],
      scopes_supported: ['openid'],
    }),
    keySet: async (now) => ({ keys: await keys.published(now) }),
    async issue(claims, now, signal) {
      const key = await keys.signing(now);
      const input = `${part({ alg: ALGORITHM, typ: 'JWT', kid: key.kid })}.${part({ ...claims, iss: url })}`;
      return `${input}.${(await key.sign(Buffer.from(input), signal)).toString('base64url')}`;
    },
  };
}

/**
 * The issuer of the settings; undefined where PLUMBLINE_PUBLIC_URL is empty. Keys are made, or looked up, now: a service that
 * cannot sign does not start.
 * @throws ConfigError
 */
export async function openIssuer(
  config: Pick<Config, 'PLUMBLINE_PUBLIC_URL' | 'oidcKeys'>,
): Promise<IdentityIssuer | undefined> {
  if (config.PLUMBLINE_PUBLIC_URL === '') return undefined;
  const { oidcKeys } = config;
  const keys = isKms(oidcKeys) ? await openKmsKeys(oidcKeys) : await openFolderKeys(oidcKeys);
  const issuer = createIssuer(config.PLUMBLINE_PUBLIC_URL, keys);
  await issuer.keySet(Date.now());
  return issuer;
}
