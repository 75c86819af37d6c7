import { isNamespaceEmpty } from '#core/engine/namespace.ts';
import type { LeaseRow } from '#core/store/leases.ts';
import type { WorkerIdentity } from './deps.ts';

/** What of a lease tells where its holder's run lived. */
export type Traces = Pick<LeaseRow, 'boot_id' | 'worker_pidns' | 'run_pidns'>;

/**
 * Whether everything a lease's former holder started is proved dead (rule 7 of the design): the same boot, seen from the same
 * outer PID namespace, and nothing lives in the run's own. Anything else proves nothing: another machine, another container,
 * a run without a namespace.
 */
export async function isProvedDead(
  identity: Pick<WorkerIdentity, 'bootId' | 'pidNamespace'>,
  lease: Traces,
  isEmpty: (inode: string) => Promise<boolean> = isNamespaceEmpty,
): Promise<boolean> {
  if (identity.bootId === 'unknown' || lease.run_pidns === null || lease.run_pidns === 'none') return false;
  if (lease.boot_id !== identity.bootId || lease.worker_pidns !== identity.pidNamespace) return false;
  return await isEmpty(lease.run_pidns);
}
