import { spawnSync } from 'node:child_process';

/** Nothing a tenant can write is ever on this path. */
const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

const LIMIT_MS = 30_000;

/**
 * Runs a shell script of ours with the system's tools and nothing in its environment.
 * @throws Error with `what` and the first line it complained with.
 */
export function runScript(what: string, script: string): void {
  const done = spawnSync('/bin/sh', ['-eu'], {
    input: script,
    encoding: 'utf8',
    env: { PATH: SYSTEM_PATH },
    timeout: LIMIT_MS,
  });
  if (done.status === 0) return;
  const said = (done.stderr || done.error?.message || `signal ${done.signal}`).trim().split('\n')[0];
  throw new Error(`${what}: ${said}`);
}
