import { describe, expect, it } from 'vitest';
import type { StackView } from '#core/domain/view.ts';
import { isSettled } from './settled.ts';

const AT = '2026-01-01T00:00:00.000Z';
const NEW = 'sha256:new';

interface Seen {
  suspend?: boolean;
  requested?: boolean;
  /** Types and reasons of the conditions that hold. */
  is: Record<string, string>;
  verdict?: { state: 'verified' | 'unsigned' | 'missing' | 'refused' | 'unset'; digest?: string; nextAt?: string };
}

function stack({ suspend = false, requested = false, is, verdict }: Seen): StackView {
  const conditions = Object.entries(is).map(([type, reason]) => {
    return { type, status: 'True' as const, reason, message: '', observedGeneration: 1, lastTransitionTime: AT };
  });
  const said = { digest: NEW, message: '', signers: [], attempts: 1, nextAt: null, ...verdict };
  return {
    tenant: 'default',
    name: 'shop',
    labels: {},
    generation: 1,
    specBy: 'me',
    spec: { source: { repository: 'oci://a.example/shop', ref: { tag: 'main' } }, pulumi: { stack: 'dev' }, suspend },
    status: {
      conditions,
      observedGeneration: 1,
      resolved: { revision: `main@${NEW}`, digest: NEW, at: AT },
      applied: null,
      verification: verdict === undefined ? null : { ...said, state: verdict.state },
      identity: null,
      failures: 0,
      nextReconcileAt: null,
      nextDriftAt: null,
      pendingOperations: 0,
      reconcileRequested: requested,
      driftRequested: false,
    },
    liveRun: null,
    why: '',
    createdAt: AT,
    updatedAt: AT,
  };
}

const DUE = new Date(0).toISOString();
const missing = { Stalled: 'SignatureMissing' };

describe('a stack that was asked to reconcile', () => {
  it.each<[string, boolean, Seen]>([
    ['has not been looked at', false, { requested: true, is: { Ready: 'Applied' } }],
    ['is up to date', true, { is: { Ready: 'UpToDate' }, verdict: { state: 'verified' } }],
    ['fails and is tried again', false, { is: { Reconciling: 'PreviewFailed' }, verdict: { state: 'verified' } }],
    [
      'has a new revision nobody looked at',
      false,
      { is: { Ready: 'Applied' }, verdict: { state: 'verified', digest: 'sha256:old' } },
    ],
    [
      'stalled on a signature that is looked for again now',
      false,
      { is: missing, verdict: { state: 'missing', nextAt: DUE } },
    ],
    ['stalled on a signature that has come', false, { is: missing, verdict: { state: 'verified' } }],
    [
      'stalled on a signature and has a new revision',
      false,
      { is: missing, verdict: { state: 'missing', digest: 'sha256:old' } },
    ],
    ['stalled on a signature that is still missing', true, { is: missing, verdict: { state: 'missing' } }],
    [
      'stalled on something else',
      true,
      { is: { Stalled: 'SpecInvalid' }, verdict: { state: 'missing', digest: 'sha256:old' } },
    ],
    ['is suspended', true, { suspend: true, is: {}, verdict: { state: 'verified', digest: 'sha256:old' } }],
  ])('that %s is settled: %s', (_what, settled, seen) => {
    const asked = stack({ requested: true, is: {} });
    expect(isSettled(stack(seen), asked)).toBe(settled);
  });
});
