import { createPublicKey } from 'node:crypto';
import type { KMSClient } from '@aws-sdk/client-kms';
import { ConfigError } from '#core/config.ts';
import { unlessAborted } from '#core/unless-aborted.ts';
import { saidBy } from '#core/oci/identity/ask.ts';
import { MODULUS_BITS, publicJwk, type KeyRing, type SigningKey } from './key-ring.ts';

const LIMIT_MS = 10_000;
const WHAT = 'awskms://<key id, ARN or alias>?region=<region>[&signsFrom=<time>][&endpoint=<url>]';

/** One key of the setting. */
interface KmsRef {
  id: string;
  region: string;
  endpoint: string | undefined;
  /** Milliseconds since 1970: until then it is published only. */
  signsFrom: number;
}

function readRef(text: string): KmsRef {
  const match = /^awskms:\/\/\/?([\w:/-]+)\?([^\s#]+)$/.exec(text);
  const query = new URLSearchParams(match?.[2] ?? '');
  const region = query.get('region') ?? '';
  const from = query.get('signsFrom');
  const signsFrom = from === null ? 0 : Date.parse(from);
  if (match?.[1] === undefined || !/^[a-z0-9-]+$/.test(region) || Number.isNaN(signsFrom))
    throw new ConfigError(`PLUMBLINE_OIDC_KEYS: ${text} is not ${WHAT}`);
  return { id: match[1], region, endpoint: query.get('endpoint') ?? undefined, signsFrom };
}

interface KmsKey extends SigningKey {
  signsFrom: number;
  jwk: Awaited<ReturnType<typeof publicJwk>>;
}

async function clientOf({ region, endpoint }: KmsRef): Promise<KMSClient> {
  const { KMSClient: Client } = await import('@aws-sdk/client-kms');
  return new Client({
    region,
    ...(endpoint !== undefined && { endpoint }),
    requestHandler: { connectionTimeout: LIMIT_MS / 4, requestTimeout: LIMIT_MS / 2, throwOnRequestTimeout: true },
  });
}

async function openKey(ref: KmsRef): Promise<KmsKey> {
  const { GetPublicKeyCommand, SignCommand } = await import('@aws-sdk/client-kms');
  const client = await clientOf(ref);
  const signal = AbortSignal.timeout(LIMIT_MS);
  const asked = client.send(new GetPublicKeyCommand({ KeyId: ref.id }), { abortSignal: signal });
  const answer = await unlessAborted(asked, signal).catch((error: unknown) => {
    throw new ConfigError(`PLUMBLINE_OIDC_KEYS: AWS KMS does not give the public key of ${ref.id} (${saidBy(error)})`);
  });
  const key = createPublicKey({ key: Buffer.from(answer.PublicKey ?? []), format: 'der', type: 'spki' });
  const isRsa = key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= MODULUS_BITS;
  if (answer.KeyUsage !== 'SIGN_VERIFY' || !isRsa)
    throw new ConfigError(
      `PLUMBLINE_OIDC_KEYS: ${ref.id} is a key of ${key.asymmetricKeyType} for ${answer.KeyUsage}; make one of RSA_2048 or more for SIGN_VERIFY`,
    );
  const jwk = await publicJwk(key);
  return {
    kid: jwk.kid,
    jwk,
    signsFrom: ref.signsFrom,
    async sign(data, stop) {
      const command = new SignCommand({
        KeyId: ref.id,
        // KMS hashes up to 4,096 bytes itself; the claims of a token, with the longest names, come to a third of that.
        Message: data,
        MessageType: 'RAW',
        SigningAlgorithm: 'RSASSA_PKCS1_V1_5_SHA_256',
      });
      const limited = AbortSignal.any([stop, AbortSignal.timeout(LIMIT_MS)]);
      const { Signature } = await unlessAborted(client.send(command, { abortSignal: limited }), limited);
      if (Signature === undefined) throw new Error(`AWS KMS answered without a signature of ${ref.id}`);
      return Buffer.from(Signature);
    },
  };
}

/**
 * Keys in AWS KMS, comma-separated. All are published; of those whose `signsFrom` has come the latest signs. To rotate, add a
 * new key that signs from tomorrow on, and take the old one out two days later.
 * @throws ConfigError when KMS does not give a public key, or the key is of another kind
 */
export async function openKmsKeys(setting: string): Promise<KeyRing> {
  const refs = setting.split(',').map((text) => readRef(text.trim()));
  const keys = (await Promise.all(refs.map(openKey))).toSorted((a, b) => a.signsFrom - b.signsFrom);
  return {
    async signing(now) {
      const found = keys.findLast((key) => key.signsFrom <= now) ?? keys[0];
      if (found === undefined) throw new Error('PLUMBLINE_OIDC_KEYS names no key');
      return found;
    },
    published: async () => keys.map((key) => key.jwk),
  };
}
