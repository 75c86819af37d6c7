import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { GuardHooks } from '../port.ts';
import { escalate } from './escalate.ts';
import type { GuardianConfig } from './protocol.ts';
import { HEARTBEAT_MS, type AttachOutput, type Ending, type Watched } from './start.ts';

function signalGroup(leader: number | undefined, signal: NodeJS.Signals): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, signal);
  } catch {
    // ESRCH: the group is empty, which is what was wanted.
  }
}

/**
 * Starts a process in a process group of its own, for machines without namespaces: what leaves the group escapes, and nobody
 * can prove the group dead after the worker is.
 */
export async function startGroup(config: GuardianConfig, guard: GuardHooks, attach: AttachOutput): Promise<Watched> {
  await guard.started(undefined);
  const { command, args, cwd, env } = config;
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  attach(child.stdout, child.stderr);
  let isOverdue = false;
  const kill = () => signalGroup(child.pid, 'SIGKILL');
  const timer = setInterval(() => {
    isOverdue ||= guard.remainingMs() <= 0;
    if (isOverdue) kill();
  }, HEARTBEAT_MS);
  // What the first process leaves behind would hold the pipes open.
  child.once('exit', kill);
  const ended = once(child, 'close')
    .then(([code, signal]: (number | NodeJS.Signals | null)[]): Ending => {
      if (isOverdue) return { type: 'deadline' };
      const name = typeof signal === 'string' ? signal : undefined;
      return {
        type: 'exited',
        code: typeof code === 'number' ? code : 128 + (name === undefined ? 0 : constants.signals[name]),
        signal: name,
      };
    })
    .catch((error: unknown): Ending => ({ type: 'failed', message: String(error) }))
    .finally(() => clearInterval(timer));
  return {
    namespace: undefined,
    interrupt: () => escalate(() => child.kill('SIGINT'), kill, config.graceMs),
    kill,
    // Nobody counts what a group uses.
    excess: () => undefined,
    ended,
  };
}
