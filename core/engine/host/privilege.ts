import { existsSync } from 'node:fs';

/**
 * Processes of one run have one user, who may look into all of them (environment, memory), but for those that hold a
 * capability the looker lacks (ptrace(2)). So the engine and its hosts hold three that mean nothing in a user namespace, and
 * programs, policy packs of a registry and those the artifact brings are started with one each: they can look into nothing of
 * ours, nor into each other. Whoever pushes an artifact must not get into a pack that its tenant requires.
 */
export const GUARD_CAPABILITIES = { program: 'block_suspend', pack: 'wake_alarm', bundled: 'audit_read' } as const;

/** Whose code a process of a run is. */
export type Role = keyof typeof GUARD_CAPABILITIES;

const SETPRIV = '/usr/bin/setpriv';

/** Words to put before the command of a process that runs foreign code; none where there are no capabilities. */
export function foreignPrefix(role: Role): string[] {
  if (process.platform !== 'linux' || !existsSync(SETPRIV)) return [];
  return [SETPRIV, `--inh-caps=-all,+${GUARD_CAPABILITIES[role]}`, '--'];
}
