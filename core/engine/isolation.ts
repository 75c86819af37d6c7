import { startGuarded } from './guardian/start.ts';
import { collectOutput } from './output.ts';
import { DEFAULT_LIMITS } from './process.ts';

const CHECK_LIMIT_MS = 30_000;

/** How the runs of a worker are kept apart from it and from each other. */
export interface Isolation {
  isolation: 'namespaces' | 'none';
  network: 'host' | 'filtered';
}

/** What a run had of isolation, and what not, in words for people; recorded on the run. */
export function isolationWords({ isolation, network }: Isolation, metadata = false): string {
  if (isolation === 'none')
    return 'none: a plain process of the worker. Lost: the files of other runs and of the worker, its environment and processes can be read; its network and the metadata address of the cloud can be reached; no limits of memory and processes; daemons may stay behind, and a dead worker is never proved dead';
  const base = 'namespaces: user, PID, mount, UTS and IPC';
  if (network === 'host')
    return `${base}; not the network: the loopback ports of the worker and the metadata address of the cloud can be reached`;
  return `${base}, and network: egress by the allow-list, ${metadata ? 'the metadata address of the cloud granted' : 'no metadata address'}`;
}

/**
 * Tries the whole isolation of a run, with a network of its own where asked, on a process that does nothing. Undefined when
 * it works, else one sentence that says what is missing and what to do; a worker set to `namespaces` must not start then.
 */
export async function checkIsolation(network: Isolation['network'] = 'host'): Promise<string | undefined> {
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
    const own =
      network === 'host' ? {} : { network: { proxyPort: 3128, proxyPath: '/none', direct: [], metadata: false } };
    const tree = await startGuarded({ ...config, ...own, sandbox }, guard, (stdout, stderr) => {
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
  return `Runs cannot be isolated on this machine (${line}). Needed: user namespaces, and unshare, setpriv, prlimit, mount and pivot_root of util-linux, and hostname, and for PLUMBLINE_NETWORK=filtered ip (iproute2) or perl; in a container, seccomp and /proc must let them.`;
}
