import { describe, expect, it } from 'vitest';
import { approvalNeeds } from './approval.ts';
import { KNOWN_OPS, type ResourceChange } from './plan.ts';

function change(partial: Partial<ResourceChange>): ResourceChange {
  return {
    urn: 'urn:pulumi:prod::shop::aws:rds/instance:Instance::db',
    type: 'aws:rds/instance:Instance',
    name: 'db',
    op: 'update',
    diffs: [],
    lostProtection: false,
    isProvider: false,
    unknowns: [],
    ...partial,
  };
}

const SAFE = new Set(['same', 'read', 'create', 'update']);

describe('on-destructive', () => {
  const policy = { mode: 'on-destructive' } as const;

  it.each([...KNOWN_OPS, 'an-operation-of-tomorrow'])('%s needs a person unless it can take nothing away', (op) => {
    expect(approvalNeeds(policy, [change({ op })], []).length > 0).toBe(!SAFE.has(op));
  });

  it.each<[string, Partial<ResourceChange>]>([
    ['a provider that changes', { isProvider: true }],
    ['lost protection', { lostProtection: true }],
    ['a difference that may replace', { diffs: [{ path: 'engine', kind: 'update', replaces: true }] }],
  ])('%s needs a person', (_what, partial) => {
    expect(approvalNeeds(policy, [change(partial)], [])).toHaveLength(1);
  });

  it('a resource that only loses its protection needs a person, though nothing else of it changes', () => {
    expect(approvalNeeds(policy, [change({ op: 'same', lostProtection: true })], [])).toHaveLength(1);
  });

  it.each(['constructor', 'toString', '__proto__', ''])('an operation named %j is as unknown as any other', (op) => {
    expect(approvalNeeds(policy, [change({ op })], [])).toHaveLength(1);
  });

  it('asks for listed types and for many changes', () => {
    expect(approvalNeeds({ ...policy, listedTypes: ['aws:rds/*'] }, [change({})], [])).toHaveLength(1);
    expect(approvalNeeds({ ...policy, listedTypes: ['aws:s3/*'] }, [change({})], [])).toEqual([]);
    expect(approvalNeeds({ ...policy, maxChanges: 1 }, [change({}), change({ name: 'b' })], [])).toHaveLength(1);
  });

  it('lets creates and in-place updates go on by themselves', () => {
    expect(approvalNeeds(policy, [change({}), change({ op: 'create' })], [])).toEqual([]);
  });
});

it('manual always needs a person, auto only where it is forced', () => {
  expect(approvalNeeds({ mode: 'manual' }, [], [])).toHaveLength(1);
  expect(approvalNeeds({ mode: 'auto' }, [change({ op: 'delete' })], [])).toEqual([]);
  expect(approvalNeeds({ mode: 'auto' }, [], ['state moved'])).toEqual(['state moved']);
});
