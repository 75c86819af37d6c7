import { describe, expect, it } from 'vitest';
import type { StackSpec, TenantSpec } from './manifest.ts';
import type { VerifyPolicy } from './verify-policy.ts';
import {
  isImmutableTag,
  nextLook,
  policySecrets,
  stillStands,
  trustKey,
  trustOf,
  type Signer,
} from './verification.ts';

const signed: VerifyPolicy = { cosign: { keys: ['release'] } };
const exception: VerifyPolicy = { unsigned: { reason: 'a sandbox' } };

function spec(verify?: VerifyPolicy): StackSpec {
  return {
    source: { repository: 'oci://registry.example.com/shop', ref: {}, ...(verify && { verify }) },
    pulumi: { stack: 'prod' },
  };
}

describe('whose signatures count', () => {
  it.each<[string, VerifyPolicy | undefined, TenantSpec, object]>([
    ['nobody is named in a new tenant: nothing runs', undefined, {}, { type: 'unset' }],
    ['the policy of the stack', signed, { verify: exception }, { type: 'policy', policy: signed, from: 'stack' }],
    ['that of the tenant otherwise', undefined, { verify: signed }, { type: 'policy', policy: signed, from: 'tenant' }],
    ['the exception of the stack', exception, { verify: signed }, { type: 'unsigned', from: 'stack' }],
    ['the exception of the tenant', undefined, { verify: exception }, { type: 'unsigned', from: 'tenant' }],
    ['a tenant where they are optional', undefined, { signatures: 'optional' }, { type: 'unsigned', from: 'tenant' }],
    ['a policy that only says how long to wait names nobody', { wait: '1m' }, {}, { type: 'unset' }],
  ])('%s', (_, own, tenant, expected) => {
    expect(trustOf(spec(own), tenant)).toMatchObject(expected);
  });
});

it('names every secret a policy takes keys, roots and certificates from, once', () => {
  const policy: VerifyPolicy = {
    cosign: { keys: ['b', 'a'], trustedRoot: 'root' },
    notation: { trustStores: ['store'], trustedIdentities: ['*'] },
    attestations: [{ type: 'sbom', cosign: { keys: ['a', 'c'] } }, { type: 'sbom' }],
  };
  expect(policySecrets(policy)).toEqual(['a', 'b', 'c', 'root', 'store']);
});

it('forgets a verdict when the policy or a key of it changes', () => {
  const trust = trustOf(spec(signed), {});
  const key = trustKey(trust, { release: 1 });
  expect(trustKey(trust, { release: 1 })).toBe(key);
  expect(trustKey(trust, { release: 2 })).not.toBe(key);
  expect(trustKey(trustOf(spec({ cosign: { keys: ['other'] } }), {}), { release: 1 })).not.toBe(key);
});

describe('the next look for a signature that is not there', () => {
  const since = new Date('2026-11-24T12:00:00Z');
  const after = (seconds: number) => new Date(since.getTime() + seconds * 1000);
  it.each<[number, number, number | null]>([
    [1, 0, 2],
    [2, 2, 6],
    [3, 6, 14],
    [9, 300, 360],
    [20, 595, 600],
    [21, 600, null],
    [21, 7000, null],
  ])('look %i, %i s after the first, is followed by one at %s s', (attempts, now, expected) => {
    const next = nextLook({ ...signed, wait: '10m' }, { attempts, since }, after(now));
    expect(next).toEqual(expected === null ? null : after(expected));
  });
});

it.each<[string, 'semver' | 'all' | 'none', boolean]>([
  ['1.4.0', 'semver', true],
  ['v1.4.0-rc.1', 'semver', true],
  ['1.4', 'semver', false],
  ['prod', 'semver', false],
  ['prod', 'all', true],
  ['1.4.0', 'none', false],
])('the tag %s is promised not to move under the rule %s: %s', (tag, rule, expected) => {
  expect(isImmutableTag(tag, rule)).toBe(expected);
});

it('believes a verdict until the first of its signers runs out, also when it was read back from the database', () => {
  const now = new Date('2026-11-24T12:00:00Z');
  const signer: Signer = { format: 'notation', name: 'C=CH', digest: 'sha256:1', statement: 'artifact' };
  const until = (text: string) => ({ ...signer, validUntil: new Date(text) });
  expect(stillStands({ signers: [signer] }, now)).toBe(true);
  expect(stillStands({ signers: [signer, until('2026-11-24T12:00:01Z')] }, now)).toBe(true);
  expect(stillStands({ signers: [until('2026-12-24'), until('2026-11-24T11:59:59Z')] }, now)).toBe(false);
  const stored: { signers: Signer[] } = JSON.parse(JSON.stringify({ signers: [until('2026-11-24T11:59:59Z')] }));
  expect(stillStands(stored, now)).toBe(false);
});
