import { expect, it } from 'vitest';
import type { Condition } from '#core/domain/condition.ts';
import { explain } from './why.ts';

const now = new Date('2026-01-01T00:00:00Z');
const spec = {
  source: { repository: 'oci://registry.example.com/infra/shop', ref: {} },
  pulumi: { stack: 'prod' },
};
const rest = {
  spec,
  conditions: [] as Condition[],
  pending_operations: null,
  pending_answers: null,
  next_reconcile_at: null,
  requested_seq: 1,
  handled_seq: 1,
};
const condition = (type: Condition['type'], reason: Condition['reason'], message: string): Condition => ({
  type,
  status: 'True',
  reason,
  message,
  observedGeneration: 1,
  lastTransitionTime: now.toISOString(),
});
const run = {
  number: 7,
  operation: 'update' as const,
  state: 'awaiting_approval' as const,
  needs: ['delete of x', 'delete of y'],
  cancel_requested_by: null,
};
const operation = { urn: 'urn:a', type: 't', operation: 'creating' };

it.each([
  ['suspended: resume', { ...rest, spec: { ...spec, suspend: true } }, run],
  ['run 7 waits for an approval: delete of x and 1 more', rest, run],
  ['run 7, a destroy, waits for an approval: delete of x', rest, { ...run, operation: 'destroy' as const }],
  ['run 7 violates mandatory policies', rest, { ...run, state: 'policy_failed' as const }],
  ['run 7 is applying', rest, { ...run, state: 'applying' as const }],
  ['run 7 is being canceled by shop/alice', rest, { ...run, cancel_requested_by: 'shop/alice' }],
  ['1 interrupted operations wait', { ...rest, pending_operations: [operation] }, undefined],
  [
    'stalled (SourceNotFound): no tag',
    { ...rest, conditions: [condition('Stalled', 'SourceNotFound', 'no tag')] },
    undefined,
  ],
  ['asked to reconcile', { ...rest, requested_seq: 2 }, undefined],
  [
    'SourceUnreachable: no answer; looks again at 2026-01-01T00:01:00.000Z',
    {
      ...rest,
      conditions: [condition('Reconciling', 'SourceUnreachable', 'no answer')],
      next_reconcile_at: new Date(now.getTime() + 60_000),
    },
    undefined,
  ],
  ['Applied: 1.2.3', { ...rest, conditions: [condition('Ready', 'Applied', '1.2.3')] }, undefined],
  ['not looked at yet; due now', { ...rest, next_reconcile_at: now }, undefined],
])('says %s', (start, stack, live) => {
  expect(explain(stack, live, { now, hasWorker: true })).toMatch(new RegExp(`^${start.replace(/[()]/g, '\\$&')}`));
});

it('says that a worker is missing before anything a worker would do', () => {
  const alone = { now, hasWorker: false };
  expect(explain({ ...rest, requested_seq: 2 }, undefined, alone)).toMatch(/^no worker serves this tenant/);
  expect(explain(rest, run, alone)).toMatch(/^run 7 waits for an approval/);
});
