import { startGuarded } from './guardian/start.ts';
import { collectOutput } from './output.ts';
import { DEFAULT_LIMITS } from './process.ts';

const CHECK_LIMIT_MS = 30_000;

/**
 * Tries the whole isolation of a run on a process that does nothing. Undefined when it works, else one sentence that says what
 * is missing and what to do; a worker set to `namespaces` must not start then.
 */
export async function checkIsolation(): Promise<string | undefined> {
  if (process.platform !== 'linux')
    return `Runs cannot be isolated on ${process.platform}: namespaces are a part of Linux.`;
  let output = () => ({ stderr: '' });
  const config = {
    command: '/usr/bin/true',
    args: [],
    cwd: '/',
    env: {},
    hostName: 'plumb-check',
    graceMs: [0, 0] as const,
    limits: DEFAULT_LIMITS,
  };
  const sandbox = { writableDirs: [], readOnlyDirs: [], hiddenDirs: [] };
  const guard = { started: async () => undefined, ended: async () => undefined, remainingMs: () => CHECK_LIMIT_MS };
  try {
    const tree = await startGuarded({ ...config, sandbox }, guard, (stdout, stderr) => {
      output = collectOutput(stdout, stderr, 4_096, () => undefined);
    });
    const ending = await tree.ended;
    if (ending.type === 'exited' && ending.code === 0) return undefined;
    return unavailable(output().stderr || `a test process ended as ${JSON.stringify(ending)}`);
  } catch (error) {
    return unavailable(output().stderr || (error instanceof Error ? error.message : String(error)));
  }
}

function unavailable(why: string): string {
  const [line = ''] = why.trim().split('\n');
  return `Runs cannot be isolated on this machine (${line}). Needed: user namespaces, and unshare, setpriv, prlimit, mount and pivot_root of util-linux, and hostname; in a container, seccomp and /proc must let them.`;
}
