import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';

/** Of all processes of a run together. */
export interface TreeLimits {
  memoryBytes: number;
  processes: number;
}

/** A limit that was passed. */
export interface Excess {
  what: 'memory' | 'processes';
  /** Bytes, or processes. */
  used: number;
  allowed: number;
}

/** What all processes of a run use at one moment. */
export interface TreeUse {
  processes: number;
  /** Tasks of all processes; one process with a hundred thousand of them is a fork bomb too. */
  threads: number;
  /** Sum of what is resident; shared pages count once a process, so the truth is less. */
  residentBytes: number;
}

/** Node.js and Go start about a dozen. */
export const THREADS_A_PROCESS = 16;
/** Beyond the limit by this much, nothing is waited for. */
const FAR = 1.25;

/**
 * The first limit that is passed, and whether so far that the run is killed at once.
 * @param memoryBytes asked only when the cheap sum is too large: the exact share of memory of all processes.
 */
export function judge(
  use: TreeUse,
  limits: TreeLimits,
  memoryBytes: () => number,
): { excess: Excess; isFar: boolean } | undefined {
  const threadLimit = limits.processes * THREADS_A_PROCESS;
  const processes = Math.max(use.processes, Math.ceil(use.threads / THREADS_A_PROCESS));
  if (use.processes > limits.processes || use.threads > threadLimit) {
    const excess = { what: 'processes', used: processes, allowed: limits.processes } as const;
    return { excess, isFar: processes > limits.processes * FAR };
  }
  if (use.residentBytes <= limits.memoryBytes) return undefined;
  const used = memoryBytes();
  if (used <= limits.memoryBytes) return undefined;
  const excess = { what: 'memory', used, allowed: limits.memoryBytes } as const;
  return { excess, isFar: used > limits.memoryBytes * FAR };
}

/** AT_PAGESZ of getauxval(3): `sysconf` is out of reach here. */
const AT_PAGESZ = 6n;

/** Bytes of a page of memory. */
export function pageBytes(): number {
  const vector = readFileSync('/proc/self/auxv');
  for (let at = 0; at + 16 <= vector.length; at += 16) {
    if (vector.readBigUInt64LE(at) === AT_PAGESZ) return Number(vector.readBigUInt64LE(at + 8));
  }
  return 4_096;
}

function readOf(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // It has ended since it was listed.
    return '';
  }
}

function pids(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== '1');
}

/** Reads what the processes of this PID namespace use, its first process excepted. */
export function readUse(page: number): TreeUse {
  const use = { processes: 0, threads: 0, residentBytes: 0 };
  for (const pid of pids()) {
    const stat = readOf(pid, 'stat');
    // Fields 20 and 24 of proc_pid_stat(5); the name in parentheses may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    use.processes += 1;
    use.threads += Number(fields[17] ?? 0);
    use.residentBytes += Number(fields[21] ?? 0) * page;
  }
  return use;
}

/** The proportional share of memory of all processes, swapped pages included: shared pages count once in all. */
export function readShares(): number {
  let kilobytes = 0;
  for (const pid of pids()) {
    const rollup = readOf(pid, 'smaps_rollup');
    for (const found of rollup.matchAll(/^(?:Pss|SwapPss):\s+(\d+) kB/gm)) kilobytes += Number(found[1]);
  }
  return kilobytes * 1_024;
}

/** Often enough that a fork bomb stays below ten thousand; reading ten processes takes a fifth of a millisecond. */
const USE_MS = 200;
/** The exact share of memory is not asked for again before so many times what asking took. */
const SHARES_PAUSE = 10;

/** Looks at the run every 200 ms, and calls `onExcess` as often as a limit is passed. */
export function watchTree(limits: TreeLimits, onExcess: (excess: Excess, isFar: boolean) => void): void {
  const page = pageBytes();
  let askAgain = 0;
  const shares = () => {
    const start = performance.now();
    if (start < askAgain) return 0;
    const bytes = readShares();
    askAgain = performance.now() + (performance.now() - start) * SHARES_PAUSE;
    return bytes;
  };
  setInterval(() => {
    const found = judge(readUse(page), limits, shares);
    if (found !== undefined) onExcess(found.excess, found.isFar);
  }, USE_MS);
}

/** Since this kernel each PID namespace has a limit of its own; on older ones the file is the whole machine's. */
const OWN_PID_MAX = [6, 14] as const;

/**
 * Sets the kernel's own limit, which binds root too; the poll alone would let thousands through. Before the cage, which
 * seals the file.
 */
export function capTasks({ processes }: TreeLimits): void {
  const tasks = processes * THREADS_A_PROCESS;
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < OWN_PID_MAX[0] || (major === OWN_PID_MAX[0] && minor < OWN_PID_MAX[1])) return;
  const file = '/proc/sys/kernel/pid_max';
  try {
    if (tasks < Number(readFileSync(file, 'utf8'))) writeFileSync(file, String(tasks));
  } catch {
    // Then the poll is all there is.
  }
}
