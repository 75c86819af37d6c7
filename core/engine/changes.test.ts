import { describe, expect, it } from 'vitest';
import { urnName } from '../domain/urn.ts';
import { changeSummary, isDefaultProvider, resourceChanges } from './changes.ts';
import { newPhase, type Phase, type StepMetadata, type StepState } from './events.ts';

const URN = 'urn:pulumi:prod::shop::aws:s3/bucket:Bucket::logs';

function state(more: Partial<StepState>): StepState {
  return { type: 'aws:s3/bucket:Bucket', urn: URN, custom: true, ...more };
}

function step(more: Partial<StepMetadata>): StepMetadata {
  return { op: 'update', urn: URN, type: 'aws:s3/bucket:Bucket', old: state({}), new: state({}), ...more };
}

function phase(...steps: StepMetadata[]): Phase {
  return { ...newPhase(), steps, summary: { resourceChanges: { update: steps.length } }, ended: true };
}

const changeOf = (given: StepMetadata, changed: string[] = []) =>
  resourceChanges(phase(given), new Map([[URN, changed]]))[0];

describe('resource changes', () => {
  it('uses the paths a provider reports, with the values of the side they belong to', () => {
    const change = changeOf(
      step({
        op: 'replace',
        old: state({ inputs: { name: 'a' }, outputs: { name: 'a', region: 'eu' } }),
        new: state({ inputs: { name: 'b', region: 'us' } }),
        detailedDiff: {
          name: { diffKind: 'update-replace', inputDiff: true },
          region: { diffKind: 'update', inputDiff: false },
        },
      }),
    );
    expect(change?.diffs).toEqual([
      { path: 'name', kind: 'update', replaces: true, before: 'a', after: 'b' },
      { path: 'region', kind: 'update', replaces: false, before: 'eu', after: 'us' },
    ]);
  });

  it('compares the inputs when a provider reports no paths, and marks those that replace', () => {
    const change = changeOf(
      step({
        op: 'replace',
        keys: ['name'],
        old: state({ inputs: { name: 'a', size: 1 } }),
        new: state({ inputs: { name: 'b', size: 2 } }),
      }),
    );
    expect(change?.diffs).toEqual([
      { path: 'name', kind: 'update', replaces: true, before: 'a', after: 'b' },
      { path: 'size', kind: 'update', replaces: false, before: 1, after: 2 },
    ]);
  });

  it('names a secret that changes, which only the plan knows', () => {
    expect(changeOf(step({}), ['password'])?.diffs).toEqual([
      { path: 'password', kind: 'update', replaces: false, before: '[secret]', after: '[secret]' },
    ]);
  });

  it.each([
    ['protect', { protect: true }, { protect: false }, true],
    ['retainOnDelete', { retainOnDelete: true }, {}, true],
    ['nothing', { protect: true }, { protect: true }, false],
  ])('says when %s is dropped', (_name, before, after, lost) => {
    expect(changeOf(step({ old: state(before), new: state(after) }))?.lostProtection).toBe(lost);
  });

  it('shows a resource that stays the same only when its protection changes', () => {
    expect(changeOf(step({ op: 'same' }))).toBeUndefined();
    expect(changeOf(step({ op: 'same', old: state({ protect: true }) }))?.lostProtection).toBe(true);
    // Only the state holds it, so it has to be applied to count.
    expect(changeOf(step({ op: 'same', new: state({ protect: true }) }))).toMatchObject({
      lostProtection: false,
      diffs: [{ path: 'protect', before: false, after: true }],
    });
  });

  it('marks explicit providers and leaves out default ones, unless they change', () => {
    const provider = (name: string, op: string) =>
      step({ op, type: 'pulumi:providers:aws', urn: `urn:pulumi:prod::shop::pulumi:providers:aws::${name}` });
    expect(changeOf(provider('eu', 'update'))?.isProvider).toBe(true);
    for (const op of ['create', 'delete', 'same']) expect(changeOf(provider('default_6_1_0', op))).toBeUndefined();
    expect(changeOf(provider('default_6_1_0', 'update'))).toBeUndefined();
    // One whose inputs differ reaches the cloud otherwise, as with another region.
    const moved = {
      ...provider('default_6_1_0', 'update'),
      old: state({ inputs: { region: 'one' } }),
      new: state({ inputs: { region: 'two' } }),
    };
    expect(changeOf(moved)?.diffs).toMatchObject([{ path: 'region', before: 'one', after: 'two' }]);
    expect(changeOf({ ...moved, type: 'pulumi:providers:pulumi-nodejs' })).toBeUndefined();
    expect(changeOf(provider('default', 'replace'))?.isProvider).toBe(true);
  });

  it('keeps names that hold the separator', () => {
    expect(urnName('urn:pulumi:prod::shop::a:b:C::one::two')).toBe('one::two');
    expect(
      isDefaultProvider({ type: 'pulumi:providers:aws', urn: 'urn:pulumi:p::s::pulumi:providers:aws::defaulted' }),
    ).toBe(false);
  });

  it('counts what the engine counted', () => {
    expect(changeSummary(phase(step({})))).toEqual({ update: 1 });
    expect(changeSummary(undefined)).toEqual({});
  });
});
