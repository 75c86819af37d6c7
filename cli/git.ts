import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const LIMIT_MS = 10_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

/** Settings of the repository that would run something of its own. */
const QUIET = ['-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null'];

/** What git prints, or undefined when it is absent, fails or takes too long: a push works without it. */
async function git(dir: string, env: NodeJS.ProcessEnv, ...args: string[]): Promise<string | undefined> {
  try {
    const { stdout } = await run('git', [...QUIET, '-C', dir, ...args], {
      timeout: LIMIT_MS,
      maxBuffer: MAX_OUTPUT_BYTES,
      env: { ...env, GIT_OPTIONAL_LOCKS: '0', GIT_TERMINAL_PROMPT: '0', LC_ALL: 'C' },
    });
    return stdout.trim();
  } catch {
    return undefined;
  }
}

/**
 * The address of a remote without user, password and query; undefined for a folder of this machine, which says nothing to
 * others.
 */
export function publicRemote(remote: string): string | undefined {
  // git@host:path, where the user is part of how such remotes are written and a password cannot be.
  const short = /^(?:[\w.-]+@)?([\w.-]+):(?!\/\/)([^\s:]+)$/.exec(remote);
  if (short !== null) return `ssh://${short[1]}/${short[2]?.replace(/^\/+/, '')}`;
  if (!URL.canParse(remote)) return undefined;
  const url = new URL(remote);
  if (!['https:', 'http:', 'ssh:', 'git:'].includes(url.protocol)) return undefined;
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/**
 * Annotations that say where a folder came from (image-spec annotations.md): the remote `origin`, and the commit, with
 * `+dirty` behind it when the folder differs from it. None of them outside of a git repository or without git.
 */
export async function gitAnnotations(dir: string, env: NodeJS.ProcessEnv): Promise<Record<string, string>> {
  const commit = await git(dir, env, 'rev-parse', '--verify', 'HEAD');
  if (commit === undefined || !/^[0-9a-f]{40,64}$/.test(commit)) return {};
  const status = await git(dir, env, 'status', '--porcelain', '--untracked-files=all', '--', '.');
  const origin = await git(dir, env, 'config', '--get', 'remote.origin.url');
  const source = origin === undefined ? undefined : publicRemote(origin);
  return {
    'org.opencontainers.image.revision': `${commit}${status === '' ? '' : '+dirty'}`,
    ...(source === undefined ? {} : { 'org.opencontainers.image.source': source }),
  };
}
