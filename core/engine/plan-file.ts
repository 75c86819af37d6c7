import { digestOf } from '../domain/plan.ts';

/** The engine's mark for a value it does not know yet (sdk/go/common/resource/plugin/rpc.go, UnknownStringValue). */
export const UNKNOWN = '04da6b54-80e4-46f7-96ec-b56ff0331ba9';

/**
 * `sha256:…` over the canonical update plan without the manifest's time and magic, which differ in every copy of one plan.
 * @throws Error when the bytes are no plan.
 */
export function planFileHash(bytes: Uint8Array): string {
  const plan: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (typeof plan !== 'object' || plan === null || !('resourcePlans' in plan)) throw new Error('the file is no update plan');
  const manifest = 'manifest' in plan && typeof plan.manifest === 'object' ? { ...plan.manifest, time: undefined, magic: undefined } : {};
  return digestOf({ ...plan, manifest });
}
