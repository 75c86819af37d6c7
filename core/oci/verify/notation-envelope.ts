import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import type { Descriptor } from '../port.ts';
import { parseJson } from '../body.ts';
import { readCertificate, type Certificate } from './notation-certificate.ts';
import { algorithmOf } from './notation-chain.ts';

const SCHEME = 'io.cncf.notary.signingScheme';
const SIGNING_TIME = 'io.cncf.notary.signingTime';
const AUTHENTIC_TIME = 'io.cncf.notary.authenticSigningTime';
const EXPIRY = 'io.cncf.notary.expiry';
const PAYLOAD_TYPE = 'application/vnd.cncf.notary.payload.v1+json';
const MAX_CHAIN = 10;

/** RFC 3339, the one form of time in Notation envelopes. */
const Time = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}[Tt]\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?([Zz]|[+-]\\d{2}:\\d{2})$',
});
const Text = Type.String({ minLength: 1 });

/** Flattened JWS JSON serialization (signature-envelope-jws.md). */
const Jws = Type.Object({
  payload: Text,
  protected: Text,
  signature: Text,
  header: Type.Object({ x5c: Type.Array(Text, { minItems: 1, maxItems: MAX_CHAIN }) }),
});

const Protected = Type.Object({
  alg: Type.String(),
  cty: Type.Literal(PAYLOAD_TYPE),
  crit: Type.Array(Type.String(), { minItems: 1, maxItems: 20 }),
  [SCHEME]: Type.String(),
  [SIGNING_TIME]: Type.Optional(Time),
  [EXPIRY]: Type.Optional(Time),
});
type Protected = Static<typeof Protected>;

const Payload = Type.Object({
  targetArtifact: Type.Object({ mediaType: Type.String(), digest: Type.String(), size: Type.Integer() }),
});

/** What a signature that holds says. Its chain is not yet checked. */
export interface Envelope {
  target: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>;
  chain: [Certificate, ...Certificate[]];
  expiry: Date | undefined;
}

function refused(why: string, cause?: unknown): ReconcileError {
  return stalled('SignatureInvalid', why, cause);
}

function decode(text: string): unknown {
  return parseJson(Buffer.from(text, 'base64url'));
}

const shown = (text: string) => JSON.stringify(text.slice(0, 80));

function readProtected(text: string): Protected {
  const value = decode(text);
  if (!Value.Check(Protected, value)) {
    const [first] = Value.Errors(Protected, value);
    throw refused(`its protected header is not one of Notation (${first?.instancePath ?? ''} ${first?.message ?? ''})`);
  }
  if (value[SCHEME] === 'notary.x509.signingAuthority') {
    throw refused(
      'it is of the scheme notary.x509.signingAuthority, which needs a trust store of signing authorities and is not supported; sign with a certificate of your own (notary.x509)',
    );
  }
  if (value[SCHEME] !== 'notary.x509') throw refused(`its signing scheme ${shown(value[SCHEME])} is not known`);
  if (AUTHENTIC_TIME in value) throw refused(`${AUTHENTIC_TIME} must not be there with notary.x509`);
  checkCritical(value);
  return value;
}

/** What must be understood, and what must be marked so (signature-envelope-jws.md, "Protected Headers"). */
function checkCritical(header: Protected): void {
  const known = [SCHEME, EXPIRY];
  const unknown = header.crit.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw refused(
      `it asks to be checked by ${shown(unknown)}, which Plumbline does not know (a verification plugin?); sign without the plugin`,
    );
  }
  const unmarked = known.find((name) => name in header && !header.crit.includes(name));
  if (unmarked !== undefined) throw refused(`${unmarked} is not marked critical`);
}

async function verifySignature(jws: Static<typeof Jws>, header: Protected, leaf: Certificate): Promise<Buffer> {
  const key = leaf.x509.publicKey;
  const algorithm = algorithmOf(key);
  if (algorithm === undefined) {
    throw refused('the key of its certificate is not RSA 2048, 3072 or 4096, nor EC P-256, P-384 or P-521');
  }
  if (header.alg !== algorithm) {
    throw refused(`it says algorithm ${shown(header.alg)} and the key of its certificate takes ${algorithm} only`);
  }
  const { flattenedVerify } = await import('jose');
  // Without the unprotected header: nothing that was not signed may say how the signature is read.
  const signed = { payload: jws.payload, protected: jws.protected, signature: jws.signature };
  try {
    const crit = { [SCHEME]: true, [EXPIRY]: true };
    const { payload } = await flattenedVerify(signed, key, { algorithms: [algorithm], crit });
    return Buffer.from(payload);
  } catch (error) {
    throw refused('its signature does not hold: the envelope was changed, or another key signed it', error);
  }
}

function timeOf(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw refused(`${shown(text)} is no time`);
  return time;
}

/**
 * Reads a JWS envelope and checks its signature against the key of its own leaf certificate.
 * @throws ReconcileError stalled SignatureInvalid
 */
export async function readEnvelope(bytes: Buffer): Promise<Envelope> {
  const jws = parseJson(bytes);
  if (!Value.Check(Jws, jws)) throw refused(`it is no flattened JWS with 1 to ${MAX_CHAIN} certificates`);
  const header = readProtected(jws.protected);
  const [first = '', ...rest] = jws.header.x5c;
  const leaf = await readCertificate(Buffer.from(first, 'base64'));
  const payload = parseJson(await verifySignature(jws, header, leaf));
  if (!Value.Check(Payload, payload)) throw refused('its payload names no artifact');
  const [signedAt, expiry] = [timeOf(header[SIGNING_TIME]), timeOf(header[EXPIRY])];
  if (signedAt !== undefined && expiry !== undefined && expiry <= signedAt)
    throw refused('it expired before it was made');
  const authorities = await Promise.all(rest.map((text) => readCertificate(Buffer.from(text, 'base64'))));
  return { target: payload.targetArtifact, chain: [leaf, ...authorities], expiry };
}
