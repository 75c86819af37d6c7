import { describe, expect, it } from 'vitest';
import type { VerifyPolicy } from '#core/domain/verify-policy.ts';
import { verifyErrors } from './verify-rules.ts';

const issuer = 'https://token.actions.githubusercontent.com';
const cosign = { keys: ['release'] };

function paths(policy: VerifyPolicy): string[] {
  return verifyErrors('verify', policy).map(({ path }) => path);
}

describe('a policy that says whose signatures count', () => {
  it.each<[string, VerifyPolicy]>([
    ['keys', { cosign }],
    ['an identity', { cosign: { identities: [{ issuer, subjectPattern: 'https://github\\.com/acme/.*' }] } }],
    ['Notation', { notation: { trustStores: ['ca'], trustedIdentities: ['x509.subject: C=CH, ST=ZH, O=Acme'] } }],
    ['a custom attestation', { cosign, attestations: [{ type: 'custom', predicateType: 'https://x/v1' }] }],
    ['the exception', { unsigned: { reason: 'sandbox' } }],
  ])('is taken: %s', (_, policy) => {
    expect(verifyErrors('verify', policy)).toEqual([]);
  });
});

describe('a policy that would let in more than its author thinks, or nobody', () => {
  it.each<[string, VerifyPolicy, string[]]>([
    ['says nothing', { wait: '1m' }, ['verify']],
    ['names nobody', { cosign: {} }, ['verify/cosign']],
    ['an issuer without a subject', { cosign: { identities: [{ issuer }] } }, ['verify/cosign/identities/0']],
    ['a subject without an issuer', { cosign: { identities: [{ subject: 'a' }] } }, ['verify/cosign/identities/0']],
    [
      'a subject said twice',
      { cosign: { identities: [{ issuer, subject: 'a', subjectPattern: 'b' }] } },
      ['verify/cosign/identities/0'],
    ],
    [
      'a pattern that is none',
      { cosign: { identities: [{ issuer, subjectPattern: '(' }] } },
      ['verify/cosign/identities/0/subjectPattern'],
    ],
    ['an exception beside a policy', { cosign, unsigned: { reason: 'why not' } }, ['verify/unsigned']],
    ['a wait of days', { cosign, wait: '3d' }, ['verify/wait']],
    [
      'a trusted identity that is none',
      { notation: { trustStores: ['ca'], trustedIdentities: ['O=Acme'] } },
      ['verify/notation/trustedIdentities/0'],
    ],
    ['an attestation nobody signs', { attestations: [{ type: 'sbom' }] }, ['verify/attestations/0']],
    ['a custom attestation of no type', { cosign, attestations: [{ type: 'custom' }] }, ['verify/attestations/0']],
    [
      'a severity of a bill of materials',
      { cosign, attestations: [{ type: 'sbom', maxSeverity: 'high' }] },
      ['verify/attestations/0'],
    ],
    [
      'builders of a bill of materials',
      { cosign, attestations: [{ type: 'sbom', builders: ['x'] }] },
      ['verify/attestations/0'],
    ],
    [
      'a builder pattern that is none',
      { cosign, attestations: [{ type: 'slsa-provenance', builders: ['/(/'] }] },
      ['verify/attestations/0/builders/0'],
    ],
  ])('is refused by name: %s', (_, policy, expected) => {
    expect(paths(policy)).toEqual(expected);
  });
});

it('names the setting of a pattern that is none once', () => {
  const policy = { cosign: { identities: [{ issuer, subjectPattern: '(' }] } };
  const [error] = verifyErrors('verify', policy);
  expect(error?.message).toMatch(/^is no RE2 pattern: /);
});
