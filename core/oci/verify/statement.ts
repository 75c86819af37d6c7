import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { parseJson } from '../body.ts';
import { refused, shown } from './cosign-refusal.ts';

/** Payload type of a DSSE envelope that holds a statement (in-toto/attestation spec/v1/envelope.md). */
export const IN_TOTO = 'application/vnd.in-toto+json';
/** Predicate of a statement that is cosign's signature of an artifact (sigstore/cosign pkg/types/predicate.go). */
export const COSIGN_SIGN = 'https://sigstore.dev/cosign/sign/v1';
export const STATEMENT_V1 = 'https://in-toto.io/Statement/v1';

/** As many as sigstore-go allows (pkg/verify/signature.go). */
const MAX_SUBJECTS = 1024;

/** in-toto/attestation spec/v1/statement.md; v0.1 has the same fields. */
const Statement = Type.Object({
  _type: Type.Union([Type.Literal(STATEMENT_V1), Type.Literal('https://in-toto.io/Statement/v0.1')]),
  subject: Type.Array(Type.Object({ digest: Type.Record(Type.String(), Type.String()) }), {
    minItems: 1,
    maxItems: MAX_SUBJECTS,
  }),
  predicateType: Type.String({ minLength: 1, maxLength: 1024 }),
  predicate: Type.Optional(Type.Unknown()),
});
export type Statement = Static<typeof Statement>;

/**
 * Reads a statement; who signed it is not asked here.
 * @throws ReconcileError stalled SignatureInvalid
 */
export function parseStatement(payloadType: string, payload: Buffer): Statement {
  if (payloadType !== IN_TOTO) throw refused(`what it signs is ${shown(payloadType)}, not an in-toto statement`);
  const value = parseJson(payload);
  if (!Value.Check(Statement, value)) throw refused('what it signs is no in-toto statement of version 0.1 or 1');
  return value;
}

/**
 * Whether the statement is about the digest: without this check every statement of a signer counts for every artifact.
 * @throws ReconcileError stalled SignatureInvalid, naming what it is about
 */
export function checkSubject(statement: Statement, digest: string): void {
  const [algorithm = '', hex = ''] = digest.split(':');
  const named = statement.subject.map((subject) => subject.digest[algorithm]);
  if (named.includes(hex)) return;
  throw refused(`it is about another artifact, ${shown(`${algorithm}:${named[0] ?? '?'}`)}`);
}

/** DSSE pre-authentication encoding: what the signature of an envelope is over (secure-systems-lab/dsse protocol.md). */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.byteLength} `;
  return Buffer.concat([Buffer.from(head), payload]);
}
