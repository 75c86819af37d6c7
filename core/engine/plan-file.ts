import { digestOf } from '../domain/plan.ts';

/** The engine's mark for a value it does not know yet (sdk/go/common/resource/plugin/rpc.go, UnknownStringValue). */
export const UNKNOWN = '04da6b54-80e4-46f7-96ec-b56ff0331ba9';

type Document = Record<string, unknown>;

function isDocument(value: unknown): value is Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parsePlan(bytes: Uint8Array): Document & { resourcePlans: unknown } {
  const plan: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (!isDocument(plan) || !('resourcePlans' in plan)) throw new Error('the file is no update plan');
  return { ...plan, resourcePlans: plan['resourcePlans'] };
}

/**
 * `sha256:…` over the canonical update plan without the manifest's time and magic, which differ in every copy of one plan.
 * @throws Error when the bytes are no plan.
 */
export function planFileHash(bytes: Uint8Array): string {
  const plan = parsePlan(bytes);
  const manifest = isDocument(plan['manifest']) ? { ...plan['manifest'], time: undefined, magic: undefined } : {};
  return digestOf({ ...plan, manifest });
}

function changedKeys(resourcePlan: unknown): string[] {
  const goal = isDocument(resourcePlan) && isDocument(resourcePlan['goal']) ? resourcePlan['goal'] : {};
  const diff = isDocument(goal['inputDiff']) ? goal['inputDiff'] : {};
  return isDocument(diff['updates']) ? Object.keys(diff['updates']) : [];
}

/**
 * URN → inputs that change. The engine compares plain values here, so a secret that changes shows, which it does not in events.
 * @throws Error when the bytes are no plan.
 */
export function changedInputs(bytes: Uint8Array): Map<string, string[]> {
  const { resourcePlans } = parsePlan(bytes);
  const plans = isDocument(resourcePlans) ? Object.entries(resourcePlans) : [];
  return new Map(plans.map(([urn, plan]) => [urn, changedKeys(plan)]));
}
