import { describe, expect, it } from 'vitest';
import { decide, destroyedKey, retryDelayMs, type LiveRun, type Snapshot } from './decide.ts';
import type { StackSpec } from './manifest.ts';

const now = new Date('2026-11-24T12:00:00Z');
const later = new Date('2026-11-24T12:04:00Z');
const earlier = new Date('2026-11-24T11:59:00Z');

const spec: StackSpec = {
  source: { repository: 'oci://registry.example.com/shop', ref: { tag: 'prod' } },
  pulumi: { stack: 'prod' },
};
const v1 = { digest: 'sha256:1', revision: 'prod@sha256:1', ordinal: 1 };
const v2 = { digest: 'sha256:2', revision: 'prod@sha256:2', ordinal: 2 };

/** A stack at rest: v1 applied, the source asked a minute ago. */
const atRest: Snapshot = {
  now,
  spec,
  generation: 1,
  requestedSeq: 1,
  handledSeq: 1,
  resolved: v1,
  sourceDueAt: later,
  applied: { ...v1, generation: 1 },
  desiredKey: 'key-1',
  attemptedKey: 'key-1',
  verification: { state: 'verified', nextAt: null },
  held: false,
  stalled: undefined,
  failures: 0,
  run: undefined,
  last: { state: 'applied', reason: null, finishedAt: earlier },
  destroyRequestedBy: null,
  lastDestroy: undefined,
  healRequestedBy: null,
  healTargets: [],
  acceptsMissing: false,
  pending: { open: 0, answered: 0 },
};

function live(change: Partial<LiveRun>): LiveRun {
  return {
    id: 'run-1',
    state: 'awaiting_approval',
    operation: 'update',
    trigger: 'revision',
    digest: v1.digest,
    generation: 1,
    expiresAt: later,
    cancelRequestedBy: null,
    ...change,
  };
}

const errored = { state: 'errored', reason: 'PreviewFailed', finishedAt: earlier } as const;
const newer = { resolved: v2, desiredKey: 'key-2' };

describe('a command by hand', () => {
  const exec = (state: LiveRun['state'], more: Partial<LiveRun> = {}) =>
    live({ operation: 'exec', state, trigger: 'manual', ...more });
  it.each<[string, Partial<Snapshot>, object]>([
    [
      'is carried out on a suspended stack too',
      { run: exec('pending'), spec: { ...spec, suspend: true } },
      { type: 'exec', runId: 'run-1' },
    ],
    ['does not make way for a newer revision', { ...newer, run: exec('pending') }, { type: 'exec', runId: 'run-1' }],
    [
      'is canceled before it begins',
      { run: exec('pending', { cancelRequestedBy: 'ann' }) },
      { type: 'cancel', runId: 'run-1', by: 'ann' },
    ],
    ['is not begun again when its worker died', { run: exec('approved') }, { type: 'abandon', runId: 'run-1' }],
    ['is recovered from when its worker died in it', { run: exec('applying') }, { type: 'recover', runId: 'run-1' }],
  ])('%s', (_name, change, action) => {
    expect(decide({ ...atRest, ...change })).toEqual(action);
  });
});

describe('decide', () => {
  it.each<[string, Partial<Snapshot>, object]>([
    ['says again that an overwritten version is held', { held: true }, { type: 'resolve' }],
    [
      'has said that an overwritten version is held',
      { held: true, stalled: 'ImmutableTagMoved' },
      { type: 'rest', until: later },
    ],
    ['looks who signed before anything is planned', { ...newer, verification: undefined }, { type: 'verify' }],
    [
      'waits for a signature until the next look',
      { ...newer, verification: { state: 'missing', nextAt: '2026-11-24T12:01:00.000Z' } },
      { type: 'rest', until: new Date('2026-11-24T12:01:00Z') },
    ],
    [
      'looks again when the time has come',
      { ...newer, verification: { state: 'refused', nextAt: earlier.toISOString() } },
      { type: 'verify' },
    ],
    [
      'plans nothing that nobody signed, and looks again with the next poll',
      { ...newer, verification: { state: 'missing', nextAt: null } },
      { type: 'rest', until: later },
    ],
    [
      'plans what an exception lets through',
      { ...newer, verification: { state: 'unsigned', nextAt: null } },
      { type: 'plan', trigger: 'revision' },
    ],
    [
      'leaves a stack at rest whose applied revision is no longer trusted',
      { verification: { state: 'refused', nextAt: null } },
      { type: 'rest', until: later },
    ],
    ['rests until the next poll when the world agrees', {}, { type: 'rest', until: later }],
    ['asks the registry when a request came in', { requestedSeq: 2 }, { type: 'resolve' }],
    ['asks the registry when the poll is due', { sourceDueAt: earlier }, { type: 'resolve' }],
    ['asks the registry the first time', { sourceDueAt: undefined, resolved: undefined }, { type: 'resolve' }],
    [
      'does nothing while suspended',
      { spec: { ...spec, suspend: true }, requestedSeq: 9 },
      { type: 'rest', until: undefined },
    ],
    ['plans a new revision', newer, { type: 'plan', trigger: 'revision', operation: 'update', digest: v2.digest }],
    ['plans a new spec', { generation: 2, desiredKey: 'key-g2' }, { type: 'plan', trigger: 'spec' }],
    ['plans again when a person asks', { attemptedKey: null }, { type: 'plan', trigger: 'manual' }],
    [
      'plans again after a stale plan',
      { attemptedKey: null, last: { ...errored, state: 'stale' } },
      { type: 'plan', trigger: 'stale' },
    ],
    [
      'waits for the retry time after a failure',
      { failures: 3, last: errored },
      { type: 'rest', until: new Date(earlier.getTime() + 240_000) },
    ],
    ['tries again when the retry time has come', { failures: 1, last: errored }, { type: 'plan', trigger: 'retry' }],
    ['gives up after the last retry', { failures: 6, last: errored }, { type: 'exhaust' }],
    ['does not retry what stalled', { failures: 1, last: errored, stalled: 'ProgramInvalid' }, { type: 'rest' }],
    [
      'takes a new revision although the last one stalled',
      { ...newer, failures: 9, last: errored, stalled: 'ProgramInvalid' },
      { type: 'plan', trigger: 'revision' },
    ],
    ['waits for approval', { run: live({}) }, { type: 'rest', until: later }],
    ['expires an approval nobody gave', { run: live({ expiresAt: earlier }) }, { type: 'expire', runId: 'run-1' }],
    ['applies what was approved', { run: live({ state: 'approved' }) }, { type: 'apply', runId: 'run-1' }],
    [
      'supersedes a waiting plan by a newer revision',
      { ...newer, run: live({}) },
      { type: 'supersede', runId: 'run-1' },
    ],
    [
      'supersedes a waiting plan by a newer spec',
      { generation: 2, run: live({}) },
      { type: 'supersede', runId: 'run-1' },
    ],
    [
      'supersedes a waiting plan by a new version of a secret',
      { desiredKey: 'key-s2', run: live({}) },
      { type: 'supersede' },
    ],
    [
      'leaves an approved plan to become stale by a new version of a secret',
      { desiredKey: 'key-s2', run: live({ state: 'approved' }) },
      { type: 'apply' },
    ],
    [
      'supersedes an approved plan before it applies',
      { ...newer, run: live({ state: 'approved' }) },
      { type: 'supersede' },
    ],
    ['cancels a waiting run on request', { run: live({ cancelRequestedBy: 'ann' }) }, { type: 'cancel', by: 'ann' }],
    ['recovers an apply whose worker died', { run: live({ state: 'applying' }) }, { type: 'recover', runId: 'run-1' }],
    [
      'recovers an apply whose worker died even when suspended',
      { spec: { ...spec, suspend: true }, run: live({ state: 'applying' }) },
      { type: 'recover' },
    ],
    ['never supersedes an apply', { ...newer, requestedSeq: 5, run: live({ state: 'applying' }) }, { type: 'recover' }],
    ['abandons a preview whose worker died', { run: live({ state: 'planning' }) }, { type: 'abandon', runId: 'run-1' }],
    [
      'does not apply while suspended',
      { spec: { ...spec, suspend: true }, run: live({ state: 'approved' }) },
      { type: 'rest', until: undefined },
    ],
    [
      'waits for answers about interrupted creates',
      { pending: { open: 2, answered: 1 }, attemptedKey: null },
      { type: 'rest', until: undefined },
    ],
    [
      'carries out answers about interrupted creates',
      { pending: { open: 2, answered: 2 } },
      { type: 'answer-pending' },
    ],
    [
      'heals the applied revision',
      { healRequestedBy: 'ann', healTargets: ['urn:a'] },
      { type: 'plan', trigger: 'heal', digest: v1.digest, targets: ['urn:a'] },
    ],
    [
      'heals the applied revision although a newer one is there',
      { ...newer, attemptedKey: 'key-2', healRequestedBy: 'ann', healTargets: ['urn:a'] },
      { type: 'plan', trigger: 'heal', digest: v1.digest },
    ],
    ['drops a heal with nothing to heal', { healRequestedBy: 'ann' }, { type: 'drop-heal' }],
    [
      'puts a waiting plan aside for a heal',
      { run: live({}), healRequestedBy: 'ann', healTargets: ['urn:a'] },
      { type: 'yield-to-heal' },
    ],
    [
      'keeps a waiting heal although a newer revision is there',
      { ...newer, run: live({ trigger: 'heal' }) },
      { type: 'rest' },
    ],
  ])('%s', (_promise, change, expected) => {
    expect(decide({ ...atRest, ...change })).toMatchObject(expected);
  });
});

describe('a source that goes back by itself', () => {
  const back = { resolved: v1, applied: { ...v2, generation: 1 }, desiredKey: 'key-1', attemptedKey: 'key-2' };

  it('is held by default', () => {
    expect(decide({ ...atRest, ...back })).toEqual({ type: 'hold-backward' });
  });

  it('is held without a word once it was said', () => {
    expect(decide({ ...atRest, ...back, stalled: 'RevisionWentBack' })).toEqual({ type: 'rest', until: later });
  });

  it('becomes a planned rollback where the spec allows it', () => {
    const allowed: StackSpec = { ...spec, source: { ...spec.source, onBackward: 'apply' } };
    const expected = { type: 'plan', operation: 'rollback', trigger: 'backward', digest: v1.digest };
    expect(decide({ ...atRest, ...back, spec: allowed })).toMatchObject(expected);
  });

  it('is an ordinary update when a person wrote the digest', () => {
    const written: StackSpec = { ...spec, source: { ...spec.source, ref: { digest: `sha256:${'1'.repeat(64)}` } } };
    expect(decide({ ...atRest, ...back, spec: written })).toMatchObject({ type: 'plan', operation: 'update' });
  });

  it('is an ordinary update when a person wrote another tag', () => {
    const other = { ...v1, revision: 'stable@sha256:1' };
    expect(decide({ ...atRest, ...back, resolved: other })).toMatchObject({ type: 'plan', operation: 'update' });
  });
});

it.each([
  [1, 60_000],
  [2, 120_000],
  [4, 480_000],
  [30, 3_600_000],
])('after %d failures the next attempt is %d ms away', (failures, expected) => {
  expect(retryDelayMs(spec, failures)).toBe(expected);
});

describe('a destroy', () => {
  const asked = { destroyRequestedBy: 'shop/alice' };
  const gone = { attemptedKey: destroyedKey(1), applied: undefined };
  it.each<[string, Partial<Snapshot>, object]>([
    ['goes by the applied revision', { ...asked, ...newer }, { type: 'plan', operation: 'destroy', digest: v1.digest }],
    [
      'takes what a first apply left that never came through',
      { ...asked, applied: undefined },
      { type: 'plan', operation: 'destroy', digest: v1.digest },
    ],
    [
      'is dropped where nothing ever ran',
      { ...asked, applied: undefined, resolved: undefined },
      { type: 'drop-destroy' },
    ],
    [
      'waits for the answers about interrupted operations',
      { ...asked, pending: { open: 1, answered: 0 } },
      { type: 'rest' },
    ],
    ['sends a waiting plan away', { ...asked, run: live({}) }, { type: 'supersede' }],
    ['is not outdated by a newer revision', { ...newer, run: live({ operation: 'destroy' }) }, { type: 'rest' }],
    ['is outdated by another spec', { generation: 2, run: live({ operation: 'destroy' }) }, { type: 'supersede' }],
    ['is followed by rest, whatever comes', { ...gone, ...newer }, { type: 'rest' }],
    ['is not healed away', { ...gone, healRequestedBy: 'shop/alice', healTargets: ['urn:a'] }, { type: 'drop-heal' }],
    [
      'is over when a person reconciles',
      { attemptedKey: null, applied: undefined },
      { type: 'plan', operation: 'update' },
    ],
    ['is over with another spec', { ...gone, generation: 2 }, { type: 'plan', operation: 'update' }],
    [
      'that is discarded has the stack looked at again',
      { lastDestroy: 'discarded' },
      { type: 'plan', operation: 'update' },
    ],
    ['that failed early leaves the stack at rest', { lastDestroy: 'errored' }, { type: 'rest' }],
  ])('%s', (_what, change, action) => {
    expect(decide({ ...atRest, ...change })).toMatchObject(action);
  });
});
