import type { ProcessLimits } from '../port.ts';
import { THREADS_A_PROCESS } from './limits.ts';

/**
 * Without a way to get a capability, core dumps (they hold secrets), and, unless started by root, more processes than it may.
 * One capability the engine keeps: it gives nothing in a user namespace, but the kernel lets no process look into another
 * that has one more (ptrace(2)), and the hosts start programs without it. So a program cannot read the engine's environment.
 */
const CONFINED = [
  '/usr/bin/setpriv', '--inh-caps=-all,+wake_alarm', '--ambient-caps=-all', '--',
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
