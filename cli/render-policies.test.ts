import { expect, it } from 'vitest';
import { renderPolicies } from './render-policies.ts';

const urn = 'urn:pulumi:prod::shop::aws:s3/bucket:Bucket::logs';

it('shows the mandatory first, what was mended, and nothing that moves the cursor', () => {
  const lines = renderPolicies({
    packs: [{ name: 'base', version: '1.0.0', digest: 'sha256:0' }],
    violations: [
      { pack: 'base', policy: 'named', level: 'advisory', urn, message: 'no\n name\u001b[2J' },
      { pack: 'base', policy: 'few', level: 'mandatory', message: 'too many' },
    ],
    remediations: [
      {
        pack: 'base',
        policy: 'private',
        urn,
        before: { acl: 'public', name: 'x' },
        after: { acl: 'private', name: 'x' },
      },
    ],
  });
  expect(lines.join('\n')).not.toContain('\u001b');
  expect(lines.slice(0, 2)).toEqual(['policies: base 1.0.0', '! mandatory: base/few on the stack: too many']);
  expect(lines[2]).toMatch(/^\* advisory: base\/named on logs: no name/);
  expect(lines[3]).toBe('~ mended: base/private on logs: acl: "public" → "private"');
});

it('is silent without packs, and says so when packs found nothing', () => {
  expect(renderPolicies({ packs: [], violations: [], remediations: [] })).toEqual([]);
  const packs = [{ name: 'base', version: '1.0.0', digest: 'sha256:0' }];
  expect(renderPolicies({ packs, violations: [], remediations: [] })).toEqual([
    'policies: base 1.0.0',
    'no violations',
  ]);
});
