import { stalled } from '../domain/errors.ts';
import type { Phase, StepMetadata } from './events.ts';
import type { PlannedResource } from './plan-file.ts';
import { SECRET } from './property-diff.ts';

/** More than this says nothing new. */
const MAX_NAMED = 5;

function opsByUrn(steps: readonly StepMetadata[]): Map<string, string[]> {
  const ops = new Map<string, string[]>();
  for (const { urn, op } of steps) if (op !== 'same') ops.set(urn, [...(ops.get(urn) ?? []), op]);
  return ops;
}

/** Only plain values: secrets, unknowns and what holds them look different on both sides. */
function isOtherScalar(planned: unknown, said: unknown): boolean {
  const isPlain = (value: unknown) =>
    typeof value === 'number' || typeof value === 'boolean' || (typeof value === 'string' && !value.includes(SECRET));
  return isPlain(planned) && isPlain(said) && planned !== said;
}

function otherValues(planned: PlannedResource, steps: readonly StepMetadata[]): string[] {
  const said = steps.findLast(({ urn, new: state }) => urn === planned.urn && state !== null)?.new?.inputs ?? {};
  return Object.entries(planned.inputs)
    .filter(([key, value]) => isOtherScalar(value, said[key]))
    .map(([key]) => `the value of ${planned.urn} ${key}`);
}

/**
 * Where the events of a preview and its saved plan differ: the operations on a resource, or a plain input. People are shown
 * the events, the engine is held to the plan, and a program can reach the stream of the one and the file of the other.
 */
export function planDisagreements(
  planned: readonly PlannedResource[],
  { steps, policies }: Pick<Phase, 'steps' | 'policies'>,
): string[] {
  const said = opsByUrn(steps);
  // The plan holds the inputs before a pack mended them; what it mended is shown by itself.
  const mended = new Set(policies.remediations.map(({ resourceUrn }) => resourceUrn));
  const inPlan = new Map(planned.map((resource) => [resource.urn, resource.ops.filter((op) => op !== 'same')]));
  const urns = new Set([...said.keys(), ...inPlan.keys()]);
  const text = (ops: string[] | undefined) => [...(ops ?? [])].sort().join('+') || 'same';
  const ops = [...urns]
    .filter((urn) => text(said.get(urn)) !== text(inPlan.get(urn)))
    .map((urn) => `${urn} (${text(said.get(urn))} in the events, ${text(inPlan.get(urn))} in the plan)`);
  const unmended = planned.filter(({ urn }) => !mended.has(urn));
  return [...ops, ...unmended.flatMap((resource) => otherValues(resource, steps))];
}

/**
 * Refuses a preview whose events and plan are not of one mind: nobody can know what would be approved.
 * @throws ReconcileError stalled(PreviewFailed) naming what differs, never a value.
 */
export function requireAgreement(planned: readonly PlannedResource[], phase: Pick<Phase, 'steps' | 'policies'>): void {
  const found = planDisagreements(planned, phase);
  if (found.length === 0) return;
  const named = found.slice(0, MAX_NAMED).join('; ');
  throw stalled(
    'PreviewFailed',
    `the events of the preview and the plan it saved differ: ${named}${found.length > MAX_NAMED ? ` and ${found.length - MAX_NAMED} more` : ''}. The program may have tampered with one of them; look at it before you try again`,
  );
}
