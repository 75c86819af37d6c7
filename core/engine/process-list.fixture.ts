import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

function readProc(pid: string | number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function pids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** Processes whose command line, or the named file of /proc, holds the marker; zombies have none. */
export function withMarker(marker: string, file = 'cmdline'): number[] {
  return pids().filter((pid) => pid !== process.pid && readProc(pid, file).includes(marker));
}

/** The direct children of a process (proc_pid_stat(5), field 4). */
export function childrenOf(parent: number): number[] {
  return pids().filter((pid) => {
    const stat = readProc(pid, 'stat');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
  });
}

/** Waits until the condition holds, `limitMs` at most; says whether it does. */
export async function eventually(condition: () => boolean, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) return false;
    await delay(20);
  }
  return true;
}
