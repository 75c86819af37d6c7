import { readdir, readFile } from 'node:fs/promises';

/** Everything that can die. `flush` empties Redis instead of killing it. */
export const VICTIMS = [
  'service',
  'worker',
  'guardian',
  'engine',
  'program',
  'provider',
  'redis',
  'flush',
  'postgres',
  'registry',
] as const;
export type Victim = (typeof VICTIMS)[number];

interface Process {
  pid: number;
  parent: number;
  command: string;
}

async function readProcess(pid: string): Promise<Process | undefined> {
  try {
    const [stat, command] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ]);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { pid: Number(pid), parent: Number(fields[1]), command: command.replaceAll('\0', ' ') };
  } catch {
    return undefined;
  }
}

/** All descendants of a process of ours, as the host sees them. */
async function descendants(root: number): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const all = (await Promise.all(pids.map(readProcess))).filter((found) => found !== undefined);
  const family = new Set([root]);
  for (let grew = true; grew;) {
    const before = family.size;
    for (const { pid, parent } of all) if (family.has(parent)) family.add(pid);
    grew = family.size > before;
  }
  return all.filter(({ pid }) => pid !== root && family.has(pid));
}

const MARKS: Partial<Record<Victim, RegExp>> = {
  guardian: /^(?!.*unshare).*guardian\/main\.ts/,
  engine: /^\S*\/pulumi (preview|up|refresh|stack|destroy)/,
  program: /host\/run-program\.ts|cmd\/run/,
  provider: /host\/dynamic-provider\.ts|cmd\/dynamic-provider/,
};

/** The process a victim's name stands for in a worker's run right now; undefined when there is none. */
export async function findInRun(worker: number, victim: Victim): Promise<number | undefined> {
  const mark = MARKS[victim];
  if (mark === undefined) return undefined;
  return (await descendants(worker)).find(({ command }) => mark.test(command))?.pid;
}
