import { readdirSync, readFileSync } from 'node:fs';

/** What of a run can die, from the outside to the inside. */
export const RUN_VICTIMS = ['unshare', 'guardian', 'engine', 'program', 'provider'] as const;
export type RunVictim = (typeof RUN_VICTIMS)[number];

/** What serves all stacks. `flush` empties Redis instead of killing it. */
export const SERVERS = ['worker', 'service', 'registry', 'redis', 'flush', 'postgres'] as const;
export type Server = (typeof SERVERS)[number];

export type Victim = RunVictim | Server;

interface Process {
  pid: number;
  parent: number;
  command: string;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function parentOf(pid: string): number {
  const stat = readText(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0);
}

/** All descendants of these processes, as the host sees them. Without a pause: it takes a few milliseconds, and is asked often. */
function descendants(roots: readonly number[]): Process[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const children = new Map<number, number[]>();
  for (const pid of pids) {
    const parent = parentOf(pid);
    children.set(parent, [...(children.get(parent) ?? []), Number(pid)]);
  }
  const found: Process[] = [];
  const open = [...roots];
  for (let parent = open.pop(); parent !== undefined; parent = open.pop()) {
    for (const pid of children.get(parent) ?? []) {
      found.push({ pid, parent, command: readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ') });
      open.push(pid);
    }
  }
  return found;
}

/** Processes of one engine operation, as the host sees them. */
export interface RunProcesses {
  /** The engine's subcommand: `preview`, `up`, `refresh`, `destroy` or `stack`. */
  operation: string;
  pids: Partial<Record<RunVictim, number>>;
}

const ENGINE = /^\S*\/pulumi (preview|up|refresh|stack|destroy) /;
const PROGRAM = /host\/run-program\.ts|cmd\/run/;
const PROVIDER = /host\/dynamic-provider\.ts|cmd\/dynamic-provider/;

/** What runs for a stack right now in this worker: its engine knows the stack by an argument. */
export function runsOf(stack: string, worker: number): RunProcesses[] {
  const all = descendants([worker]);
  const engines = all.filter(({ command }) => ENGINE.test(command) && command.split(' ').includes(stack));
  return engines.map((engine) => {
    const below = descendants([engine.pid]);
    const pids = {
      unshare: all.find(({ pid }) => pid === engine.parent)?.parent,
      guardian: engine.parent,
      engine: engine.pid,
      program: below.find(({ command }) => PROGRAM.test(command))?.pid,
      provider: below.find(({ command }) => PROVIDER.test(command))?.pid,
    };
    return {
      operation: ENGINE.exec(engine.command)?.[1] ?? '',
      pids: Object.fromEntries(Object.entries(pids).filter(([, pid]) => pid !== undefined)),
    };
  });
}

/** It may have ended by itself a moment ago. */
export function killIfThere(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}
