import { expect, it } from 'vitest';
import { boundDifferences, canonicalJson, planDigest, type BoundDocument } from './plan.ts';

const bound: BoundDocument = {
  tenant: 'shop',
  stack: 'shop-prod',
  generation: 3,
  operation: 'update',
  targets: [],
  identity: { backend: 'file:///state', organization: 'organization', project: 'shop', stack: 'prod' },
  checkpoint: 'sha256:c',
  artifact: 'sha256:a',
  verification: { state: 'verified', trustKey: 'sha256:t', signers: ['key release: sign'] },
  path: '.',
  dependencies: 'sha256:d',
  plan: 'sha256:p',
  settings: 'v1:salt',
  config: { replicas: '3' },
  environment: { AWS_REGION: 'hmac:1' },
  credentials: { plan: 'ro@1', apply: 'rw@1' },
  versions: { engine: '3.259.0' },
  flags: ['--refresh=false'],
  rule: { mode: 'manual' },
  summary: { create: 1 },
  shown: 'sha256:s',
  unknowns: [],
};

it('gives equal documents equal digests whatever the order of their keys', () => {
  const reversed = Object.fromEntries(Object.entries(bound).reverse());
  expect(canonicalJson(reversed)).toBe(canonicalJson(bound));
});

it.each<[string, Partial<BoundDocument>, string]>([
  ['generation', { generation: 4 }, 'generation'],
  ['operation', { operation: 'rollback' }, 'operation'],
  ['targets', { targets: ['urn:x'] }, 'targets'],
  ['state identity', { identity: { ...bound.identity, stack: 'dev' } }, 'identity.stack'],
  ['checkpoint', { checkpoint: 'absent' }, 'checkpoint'],
  ['artifact', { artifact: 'sha256:b' }, 'artifact'],
  ['signature policy', { verification: { ...bound.verification, trustKey: 'sha256:u' } }, 'verification.trustKey'],
  ['signers', { verification: { ...bound.verification, signers: [] } }, 'verification.signers'],
  ['dependencies', { dependencies: 'none' }, 'dependencies'],
  ['plan bytes', { plan: 'sha256:q' }, 'plan'],
  ['settings', { settings: 'v1:other' }, 'settings'],
  ['config', { config: { replicas: '4' } }, 'config.replicas'],
  ['a config key that is gone', { config: {} }, 'config.replicas'],
  ['environment', { environment: { AWS_REGION: 'hmac:2' } }, 'environment.AWS_REGION'],
  ['credentials', { credentials: { plan: 'ro@1', apply: 'rw@2' } }, 'credentials.apply'],
  ['versions', { versions: { engine: '3.260.0' } }, 'versions.engine'],
  ['flags', { flags: [] }, 'flags'],
  ['rule', { rule: { mode: 'auto' } }, 'rule.mode'],
  ['summary', { summary: { create: 2 } }, 'summary.create'],
  ['what was shown', { shown: 'sha256:t' }, 'shown'],
  ['unknowns', { unknowns: ['urn#id'] }, 'unknowns'],
])('an approval is void when the %s changes, and says so', (_what, change, path) => {
  const now = { ...bound, ...change };
  expect(boundDifferences(bound, now).map((difference) => difference.path)).toEqual([path]);
  expect(planDigest(now)).not.toBe(planDigest(bound));
});

it('finds nothing where nothing changed', () => {
  expect(boundDifferences(bound, structuredClone(bound))).toEqual([]);
});
