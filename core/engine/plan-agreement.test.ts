import { expect, it } from 'vitest';
import { newPhase, type StepMetadata } from './events.ts';
import { planDisagreements, requireAgreement } from './plan-agreement.ts';
import { plannedResources, type PlannedResource } from './plan-file.ts';

const urn = 'urn:pulumi:prod::shop::aws:s3/bucket:Bucket::logs';

function plan(steps: string[], diff: { adds?: object; updates?: object } = {}): PlannedResource[] {
  return plannedResources(
    Buffer.from(JSON.stringify({ resourcePlans: { [urn]: { goal: { inputDiff: diff }, steps } } })),
  );
}

function step(op: string, inputs: Record<string, unknown> = {}): StepMetadata {
  return { op, urn, type: 'aws:s3/bucket:Bucket', old: null, new: { type: 'aws:s3/bucket:Bucket', urn, inputs } };
}

function phase(...steps: StepMetadata[]) {
  return { ...newPhase(), steps };
}

const secret = { '4dabf18193072939515e22adb298388d': '1b47061264138c4ac30d75fd1eb44270' };

it.each([
  ['nothing happens', plan(['same']), phase(step('same'))],
  ['a resource that the events leave out is the same', plan(['same']), phase()],
  [
    'an update with the value that is planned',
    plan(['update'], { updates: { n: 2 } }),
    phase(step('update', { n: 2 })),
  ],
  [
    'a replacement, in whatever order',
    plan(['create-replacement', 'replace', 'delete-replaced']),
    phase(step('delete-replaced'), step('replace'), step('create-replacement')),
  ],
  ['a secret, which both hide', plan(['update'], { updates: { p: secret } }), phase(step('update', { p: '[secret]' }))],
  [
    'a text with a secret in it',
    plan(['create'], { adds: { u: 'a://b:c' } }),
    phase(step('create', { u: 'a://b:[secret]' })),
  ],
])('%s: events and plan are of one mind', (_name, planned, events) => {
  expect(planDisagreements(planned, events)).toEqual([]);
});

it.each([
  ['a delete the events do not show', plan(['delete']), phase(), `${urn} (same in the events, delete in the plan)`],
  [
    'an update shown for a replace',
    plan(['replace']),
    phase(step('update')),
    `${urn} (update in the events, replace in the plan)`,
  ],
  [
    'another value than the planned one',
    plan(['update'], { updates: { n: 100 } }),
    phase(step('update', { n: 1 })),
    `the value of ${urn} n`,
  ],
])('%s is found', (_name, planned, events, difference) => {
  expect(planDisagreements(planned, events)).toEqual([difference]);
  expect(() => requireAgreement(planned, events)).toThrow(difference);
});

it('what a policy pack mended is in the plan as it was before, and shown by itself', () => {
  const events = phase(step('create', { acl: 'private' }));
  events.policies.remediations.push({ resourceUrn: urn, policyName: 'acl', policyPackName: 'base' });
  expect(planDisagreements(plan(['create'], { adds: { acl: 'public' } }), events)).toEqual([]);
});
