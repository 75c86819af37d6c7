import { digestOf } from '../domain/plan.ts';
import { documentAt, isDocument, type Document } from './json-document.ts';

/** The engine's mark for a value it does not know yet (sdk/go/common/resource/plugin/rpc.go, UnknownStringValue). */
export const UNKNOWN = '04da6b54-80e4-46f7-96ec-b56ff0331ba9';

function parsePlan(bytes: Uint8Array): Document {
  const plan: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (!isDocument(plan) || !('resourcePlans' in plan)) throw new Error('the file is no update plan');
  return plan;
}

/**
 * `sha256:…` over the canonical update plan without the manifest's time and magic, which differ in every copy of one plan.
 * @throws Error when the bytes are no plan.
 */
export function planFileHash(bytes: Uint8Array): string {
  const plan = parsePlan(bytes);
  const manifest = { ...documentAt(plan, 'manifest'), time: undefined, magic: undefined };
  return digestOf({ ...plan, manifest });
}

/** One resource of a plan. */
export interface PlannedResource {
  urn: string;
  ops: string[];
  /** What it gets anew, secrets as ciphertext. */
  inputs: Document;
  /**
   * Inputs it has already and gets another value of. The engine compares plain values here, so a secret that changes shows,
   * which it does not in events.
   */
  changed: string[];
}

/** @throws Error when the bytes are no plan. */
export function plannedResources(bytes: Uint8Array): PlannedResource[] {
  const plans = documentAt(parsePlan(bytes), 'resourcePlans');
  return Object.keys(plans).map((urn) => {
    const plan = documentAt(plans, urn);
    const diff = documentAt(documentAt(plan, 'goal'), 'inputDiff');
    const updates = documentAt(diff, 'updates');
    const { steps } = plan;
    return {
      urn,
      ops: Array.isArray(steps) ? steps.map(String) : [],
      inputs: { ...documentAt(diff, 'adds'), ...updates },
      changed: Object.keys(updates),
    };
  });
}
