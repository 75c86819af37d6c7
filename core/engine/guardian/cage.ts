import {
  appendFileSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  buildScript,
  isWithin,
  layout,
  quote,
  sealScript,
  SYSTEM_DIRS,
  SYSTEM_SETTINGS,
  type Sandbox,
} from '../sandbox.ts';
import { runScript } from './script.ts';

/** Where the new root is put together: one that nothing to be shown lies in. */
const BASES = ['/media', '/srv', '/mnt', '/opt', '/home', '/var'];

function probe(path: string): 'file' | 'folder' | 'missing' {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 'missing';
  return found.isDirectory() ? 'folder' : 'file';
}

/** Makes the system's symlinks and copies its settings below `base`; returns the folders that are to be bound. */
function copySystem(base: string): string[] {
  const bound: string[] = [];
  for (const path of SYSTEM_DIRS) {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isSymbolicLink() === true) symlinkSync(readlinkSync(path), base + path);
    else if (found !== undefined) bound.push(path);
  }
  mkdirSync(join(base, 'etc'));
  for (const name of SYSTEM_SETTINGS) {
    const path = join('/etc', name);
    const kind = probe(path);
    if (kind === 'folder') bound.push(path);
    if (kind === 'file') copyFileSync(path, base + path);
  }
  return bound;
}

/** A hidden folder may also be reached by its real path. */
function withRealPaths(paths: string[]): string[] {
  return paths.flatMap((path) => (probe(path) === 'missing' ? [path] : [path, realpathSync(path)]));
}

/**
 * Locks the calling process, PID 1 of fresh namespaces, and all it starts into a file tree that holds the system read-only and
 * what `sandbox` names, under a host name of its own.
 * @param hosts lines for /etc/hosts.
 * @throws Error naming the step that failed.
 */
export function enterCage(hostName: string, sandbox: Sandbox, hosts: string[]): void {
  const shown = [...sandbox.writableDirs, ...sandbox.readOnlyDirs];
  const base = BASES.find(
    (dir) => probe(dir) === 'folder' && !shown.some((path) => isWithin(path, dir) || isWithin(dir, path)),
  );
  if (base === undefined)
    throw new Error(`the sandbox needs one of ${BASES.join(', ')} to be a folder it does not show`);
  runScript('naming the host', `hostname ${quote(hostName)}`);
  runScript('making the root', `mount -t tmpfs -o size=8m,mode=755 root ${base}`);
  const system = copySystem(base);
  if (hosts.length > 0) appendFileSync(join(base, 'etc', 'hosts'), `\n${hosts.join('\n')}\n`);
  const hidden = withRealPaths([...sandbox.hiddenDirs, '/etc/ssl/private', '/etc/pki/tls/private']);
  const entries = layout(system, { ...sandbox, hiddenDirs: hidden }, probe);
  runScript('building the file tree', buildScript(base, entries, probe));
  runScript('sealing the file tree', sealScript(base, entries, readFileSync('/proc/self/mountinfo', 'utf8')));
  process.chdir('/');
}
