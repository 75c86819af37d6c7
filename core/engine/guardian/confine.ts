import type { ProcessLimits } from '../port.ts';
import { GUARD_CAPABILITIES } from '../host/privilege.ts';
import { THREADS_A_PROCESS } from './limits.ts';

const GUARDS = Object.values(GUARD_CAPABILITIES).map((name) => `+${name}`);

/**
 * Without a way to get a capability, core dumps (they hold secrets), and, unless started by root, more processes than it may.
 * The capabilities the engine keeps only guard it from the program; see host/privilege.ts.
 */
const CONFINED = [
  '/usr/bin/setpriv', `--inh-caps=${['-all', ...GUARDS].join(',')}`, '--ambient-caps=-all', '--',
  '/usr/bin/setpriv', '--bounding-set=-all', '--no-new-privs', '--',
]; // prettier-ignore

/** Arguments of prlimit(1) that stand before the engine's command. */
export function confinement(limits: ProcessLimits): string[] {
  const tasks = limits.processes * THREADS_A_PROCESS;
  const resources = [
    '--core=0:0',
    `--nproc=${tasks}:${tasks}`,
    `--fsize=${limits.fileBytes}:${limits.fileBytes}`,
    '--',
  ];
  return [...resources, ...CONFINED];
}
