import { readFileSync } from 'node:fs';

const EVERY_MS = 5;
const KIB_PER_MIB = 1024;

/** How much memory processes hold together. */
export interface MemoryWatch {
  add(pid: number): void;
  /** Largest sum of resident memory of all processes that ran at once so far, in MiB; 0 where there is no /proc. */
  peakMib(): number;
  stop(): void;
}

function residentKib(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0);
  } catch {
    return undefined;
  }
}

/** Looks every 5 ms: a process may grow and end between two looks, which makes a peak a little too small. */
export function watchMemory(): MemoryWatch {
  const pids = new Set<number>();
  let peak = 0;
  const timer = setInterval(() => {
    let sum = 0;
    for (const pid of pids) {
      const kib = residentKib(pid);
      if (kib === undefined) pids.delete(pid);
      sum += kib ?? 0;
    }
    peak = Math.max(peak, sum);
  }, EVERY_MS);
  return {
    add: (pid) => void pids.add(pid),
    peakMib: () => peak / KIB_PER_MIB,
    stop: () => clearInterval(timer),
  };
}
