import { readdir, readFile, readlink } from 'node:fs/promises';

/** Id of this boot of the machine, or undefined where there is no /proc: a process of another boot is dead. */
export async function bootId(): Promise<string | undefined> {
  const id = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => undefined);
  return id?.trim();
}

async function namespaceOf(pid: string): Promise<string | undefined> {
  const link = await readlink(`/proc/${pid}/ns/pid`).catch(() => undefined);
  return link?.replaceAll(/\D/g, '');
}

/** Inode of the PID namespace this process lives in, or undefined where there are none. */
export async function ownPidNamespace(): Promise<string | undefined> {
  return await namespaceOf('self');
}

async function isDeadTask(statFile: string): Promise<boolean> {
  const stat = await readFile(statFile, 'utf8').catch(() => undefined);
  // The command in parentheses may hold anything: the state follows the last one (proc_pid_stat(5)).
  const state = stat?.[stat.lastIndexOf(')') + 2];
  return state === undefined || state === 'Z' || state === 'X';
}

/** A program can end its first thread and go on in others: it then looks like a zombie and is not. */
async function isDead(pid: string): Promise<boolean> {
  if (!(await isDeadTask(`/proc/${pid}/stat`))) return false;
  const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
  const dead = await Promise.all(tasks.map((task) => isDeadTask(`/proc/${pid}/task/${task}/stat`)));
  return dead.every((isGone) => isGone);
}

/**
 * Whether no process lives in the PID namespace with this inode. True proves it only if the asker sees that namespace: it lives
 * in the PID namespace the run's worker lived in, on the same boot (`bootId`, `ownPidNamespace`), and under the same user.
 * Inodes are used again, so false may also mean a later run.
 */
export async function isNamespaceEmpty(inode: string): Promise<boolean> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const living = await Promise.all(pids.map(async (pid) => (await namespaceOf(pid)) === inode && !(await isDead(pid))));
  return !living.includes(true);
}
