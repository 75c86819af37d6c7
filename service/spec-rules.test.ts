import { describe, expect, it } from 'vitest';
import type { StackSpec } from '#core/domain/manifest.ts';
import { secretUses, specErrors } from './spec-rules.ts';

const spec = (change: Partial<StackSpec> = {}, source: Partial<StackSpec['source']> = {}): StackSpec => ({
  source: { repository: 'oci://registry.example.com/infra/shop', ref: { semver: '^1.4' }, ...source },
  pulumi: { stack: 'prod' },
  ...change,
});

describe('specErrors', () => {
  it.each([
    'oci://registry.example.com/infra/shop',
    'oci://127.0.0.1:5000/shop',
    'oci://[::1]:5000/a/b/c',
    'oci://localhost/a__b/c-d.e',
  ])('takes %s', (repository) => {
    expect(specErrors(spec({}, { repository }))).toEqual([]);
  });

  it.each([
    'oci://registry.example.com',
    'oci://registry.example.com/Shop',
    'oci://registry.example.com/shop:1.0',
    'oci://registry.example.com/shop@sha256:aa',
    'oci://user@registry.example.com/shop',
    'oci://registry.example.com/../shop',
    'oci://registry.example.com/shop?x=1',
  ])('refuses %s', (repository) => {
    expect(specErrors(spec({}, { repository }))).toMatchObject([{ path: 'spec/source/repository' }]);
  });

  it.each<[string, StackSpec]>([
    ['spec/source/ref/semver', spec({}, { ref: { semver: 'one point four' } })],
    ['spec/source/path', spec({}, { path: '../other' })],
    ['spec/source/path', spec({}, { path: '/etc' })],
    ['spec/source/interval', spec({}, { interval: '0s' })],
    ['spec/source/ref/filter', spec({}, { ref: { semver: '^1', filter: '(?=x)' } })],
    ['spec/source/ref', spec({}, { ref: { tag: 'prod', filter: '^v' } })],
    ['spec/source/workloadIdentity', spec({}, { workloadIdentity: 'aws' })],
    [
      'spec/source/workloadIdentity',
      spec({}, { repository: 'oci://release.azurecr.io/a', workloadIdentity: 'azure', credentials: 'x' }),
    ],
    ['spec/drift/interval', spec({ drift: { interval: '1ms' } })],
    ['spec/approval/expires', spec({ approval: { mode: 'manual', expires: '8d' } })],
    ['spec/timeouts/apply', spec({ timeouts: { apply: '25h' } })],
    ['spec/network/egress', spec({ network: { egress: ['api.example.com', 'https://api.example.com'] } })],
  ])('names %s', (path, bad) => {
    expect(specErrors(bad).map((error) => error.path)).toEqual([path]);
  });
});

describe('secretUses', () => {
  it('finds every place that names a secret', () => {
    const uses = secretUses({
      ...spec(
        { credentials: { plan: 'ro', apply: 'rw' } },
        { credentials: 'registry', verify: { cosign: { keys: ['release'] } } },
      ),
      pulumi: { stack: 'prod', secrets: { dbPassword: { secret: 'shop-db', key: 'password' } } },
    });
    expect(uses).toEqual([
      { path: 'spec/source/credentials', secret: 'registry', key: undefined },
      { path: 'spec/credentials/plan', secret: 'ro', key: undefined },
      { path: 'spec/credentials/apply', secret: 'rw', key: undefined },
      { path: 'spec/pulumi/secrets/dbPassword', secret: 'shop-db', key: 'password' },
      { path: 'spec/source/verify', secret: 'release', key: undefined },
    ]);
  });
});
