import { describe, expect, it } from 'vitest';
import {
  audienceOf,
  describeSource,
  mintRefusal,
  sessionName,
  sharesIdentity,
  subjectOf,
  type MintingRun,
} from './credential.ts';
import type { CredentialSource, OidcLogin } from './manifest.ts';

const role = (name: string) => `arn:aws:iam::123456789012:role/${name}`;
const assumed = (secret: string, name: string): CredentialSource => ({ secret, assumeRole: { role: role(name) } });
const token = (oidc: OidcLogin, secret?: string): CredentialSource => ({ oidc, ...(secret && { secret }) });
const azure = { tenantId: 't', clientId: 'c' };

describe('identities that are one, which every approval shows', () => {
  it.each<[string, CredentialSource | undefined, CredentialSource | undefined, boolean]>([
    ['no credentials at all', undefined, undefined, false],
    ['one identity only', undefined, 'deploy', false],
    ['one secret for both', 'deploy', 'deploy', true],
    ['one secret, written in two ways', 'deploy', { secret: 'deploy' }, true],
    ['two secrets', 'look', 'deploy', false],
    ['one role by two secrets', assumed('a', 'ops'), assumed('b', 'ops'), true],
    ['two roles by one secret, which stays with the worker', assumed('a', 'look'), assumed('a', 'ops'), false],
    ['a plan that holds the keys of the role of the apply', 'a', assumed('a', 'ops'), true],
    ['an apply that holds the keys of the role of the plan', assumed('a', 'look'), 'a', false],
    ['one role, by keys and by a token', assumed('a', 'ops'), token({ aws: { role: role('ops') } }), true],
    ['two roles by tokens', token({ aws: { role: role('look') } }), token({ aws: { role: role('ops') } }), false],
    ['one application of Azure', token({ azure }), token({ azure: { ...azure, subscriptionId: 's' } }), true],
    [
      'one secret beside two logins',
      token({ aws: { role: role('look') } }, 'x'),
      token({ aws: { role: role('ops') } }, 'x'),
      true,
    ],
    ['token files, of which each says its phase', token({ tokenFile: 'A' }), token({ tokenFile: 'A' }), false],
  ])('%s', (_, plan, apply, shared) => {
    expect(sharesIdentity({ ...(plan && { plan }), ...(apply && { apply }) })).toBe(shared);
  });
});

describe('what an approval is bound to', () => {
  it.each<[CredentialSource | undefined, number | undefined, string]>([
    [undefined, undefined, 'none'],
    ['deploy', 3, 'deploy@3'],
    [{ secret: 'deploy' }, 3, 'deploy@3'],
    [assumed('base', 'ops'), 2, `base@2 as ${role('ops')}`],
    [token({ aws: { role: role('ops') } }), undefined, `token for aws ${role('ops')}`],
    [token({ azure }, 'extra'), 4, 'token for azure t c and extra@4'],
    [
      token({ gcp: { provider: 'projects/1/x', serviceAccount: 'sa@p' } }),
      undefined,
      'token for gcp projects/1/x sa@p',
    ],
    [token({ tokenFile: 'VAULT_TOKEN_FILE' }), undefined, 'token for token in VAULT_TOKEN_FILE'],
  ])('of %j', (source, version, said) => {
    expect(describeSource(source, version)).toBe(said);
  });
});

describe('a token', () => {
  it.each<[OidcLogin, string]>([
    [{ aws: { role: role('ops') } }, 'sts.amazonaws.com'],
    [{ azure }, 'api://AzureADTokenExchange'],
    [
      { gcp: { provider: 'projects/1/locations/global/x' } },
      'https://iam.googleapis.com/projects/1/locations/global/x',
    ],
    [{ tokenFile: 'X' }, 'https://plumb.example.com'],
  ])('for %j has one audience', (login, audience) => {
    expect(audienceOf(login, 'https://plumb.example.com')).toBe(audience);
  });

  it('has a subject that no other tenant, stack or phase has', () => {
    expect(subjectOf({ tenant: 'shop', stack: 'prod', phase: 'apply' })).toBe('tenant:shop:stack:prod:op:apply');
  });
});

describe('the name of a session', () => {
  it('tells tenant, stack, run and phase', () => {
    expect(sessionName({ tenant: 'shop', stack: 'prod', run: 12, phase: 'plan' })).toBe('plumbline-shop-prod-12-plan');
  });

  it('keeps run and phase where it has to be cut to 64 characters', () => {
    const name = sessionName({ tenant: 't'.repeat(63), stack: 's'.repeat(63), run: 2_147_483_647, phase: 'apply' });
    expect(name).toMatch(/^[\w+=,.@-]{64}$/);
    expect(name).toMatch(/-2147483647-apply$/);
  });
});

describe('who gets a token', () => {
  const run = (change: Partial<MintingRun>): MintingRun => ({
    lane: 'run',
    operation: 'update',
    state: 'planning',
    current: true,
    ...change,
  });

  it.each<[string, 'plan' | 'apply', Partial<MintingRun>]>([
    ['a plan under way', 'plan', {}],
    ['a drift check', 'plan', { lane: 'drift', operation: 'drift', current: false }],
    ['the look at what a cut-off apply left', 'plan', { state: 'applying' }],
    ['the clean-up after a finished run', 'plan', { state: 'errored' }],
    ['an approved run', 'apply', { state: 'approved' }],
    ['an apply under way', 'apply', { state: 'applying' }],
    ['an apply that is interrupted politely', 'apply', { state: 'interrupting' }],
    ['a command by hand, which is prepared', 'apply', { operation: 'exec' }],
    ['a destroy that is approved', 'apply', { operation: 'destroy', state: 'approved' }],
  ])('%s gets one of %s', (_, phase, change) => {
    expect(mintRefusal(run(change), phase)).toBeUndefined();
  });

  it.each<[string, 'plan' | 'apply', Partial<MintingRun>]>([
    ['a plan that nobody approved', 'apply', { state: 'planning' }],
    ['a plan that waits', 'apply', { state: 'awaiting_approval' }],
    ['a plan whose policies failed', 'apply', { state: 'policy_failed' }],
    ['an applied run', 'apply', { state: 'applied' }],
    ['a command by hand that is only fetched', 'apply', { operation: 'exec', state: 'fetching' }],
    ['a drift check', 'apply', { lane: 'drift', operation: 'drift' }],
    ['a drift check that says it is approved', 'apply', { lane: 'drift', operation: 'drift', state: 'approved' }],
    ['a real run under the lease of a drift check', 'plan', { lane: 'drift' }],
    ['a drift check under the lease of real runs', 'plan', { operation: 'drift' }],
    ['a run that waits for a person', 'plan', { state: 'awaiting_approval' }],
    ['a finished run with a later one', 'plan', { state: 'applied', current: false }],
    ['a finished drift check', 'plan', { lane: 'drift', operation: 'drift', state: 'planned' }],
  ])('%s gets none of %s', (_, phase, change) => {
    expect(mintRefusal(run(change), phase)).toEqual(expect.any(String));
  });
});
