/** What a run may see of the machine. Absolute paths; everything that is not named here and no part of the system is absent. */
export interface Sandbox {
  writableDirs: string[];
  /** Folders, or single files, shown read-only. */
  readOnlyDirs: string[];
  /** Emptied even where a shown folder holds them. A shown folder below a hidden one is put back. */
  hiddenDirs: string[];
}

type Access = 'hidden' | 'read' | 'write';

/** One part of the sandbox's file tree, by its path on the host and in the sandbox alike. */
export interface Entry {
  path: string;
  access: Access;
  isFile: boolean;
  /** The entry that holds this one; undefined: the sandbox's empty root. */
  cover: Entry | undefined;
}

/** System folders every program needs; symlinks among them (`/bin` → `usr/bin`) are made again as symlinks. */
export const SYSTEM_DIRS = ['/usr', '/bin', '/sbin', '/lib', '/lib64', '/nix/store'] as const;

/**
 * Of `/etc` only this: it also holds private keys and other services' settings, and a worker started by root owns them.
 * Files are copied, folders are bound.
 */
export const SYSTEM_SETTINGS = [
  'alternatives', 'ca-certificates', 'crypto-policies', 'gai.conf', 'group', 'host.conf', 'hosts', 'ld.so.cache', 'ld.so.conf',
  'ld.so.conf.d', 'localtime', 'mime.types', 'nsswitch.conf', 'os-release', 'passwd', 'pki', 'protocols', 'resolv.conf',
  'services', 'ssl', 'timezone',
] as const; // prettier-ignore

const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'] as const;

/**
 * Parts of /proc that belong to the machine: root without capabilities still owns, and so could write, these
 * (`core_pattern` would run a program outside). The list is the one of the OCI runtime spec's default read-only paths.
 */
const PROC_READ_ONLY = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'] as const;

/** Size of the private /tmp; it counts as memory. Runs have their TMPDIR on disk. */
const TMP_SIZE = '256m';

/** What the layout asks the host about a path. */
export type Probe = (path: string) => 'file' | 'folder' | 'missing';

/** True when `path` is `folder` or lies below it. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}

const STRENGTH: Record<Access, number> = { hidden: 0, read: 1, write: 2 };

function strongest(wanted: [string, Access][]): [string, Access][] {
  const byPath = new Map<string, Access>();
  for (const [path, access] of wanted) {
    const known = byPath.get(path);
    if (known === undefined || STRENGTH[access] > STRENGTH[known]) byPath.set(path, access);
  }
  return [...byPath].toSorted(([a], [b]) => a.split('/').length - b.split('/').length || a.localeCompare(b));
}

function isRedundant(access: Access, cover: Entry | undefined): boolean {
  return cover === undefined ? access === 'hidden' : cover.access === access;
}

/**
 * The entries to mount, parents first, with those left out that change nothing.
 * @throws Error naming a folder that is to be shown and does not exist.
 */
export function layout(system: string[], sandbox: Sandbox, probe: Probe): Entry[] {
  const wanted = strongest([
    ...system.map((path): [string, Access] => [path, 'read']),
    ...sandbox.hiddenDirs.map((path): [string, Access] => [path, 'hidden']),
    ...sandbox.readOnlyDirs.map((path): [string, Access] => [path, 'read']),
    ...sandbox.writableDirs.map((path): [string, Access] => [path, 'write']),
  ]);
  const entries: Entry[] = [];
  for (const [path, access] of wanted) {
    const cover = entries.findLast((entry) => isWithin(path, entry.path));
    const found = probe(path);
    if (isRedundant(access, cover) || (access === 'hidden' && found === 'missing')) continue;
    if (found === 'missing') throw new Error(`the sandbox is to show ${path}, which does not exist`);
    entries.push({ path, access, isFile: found === 'file', cover });
  }
  return entries;
}

/** A text as one word of a shell script. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function mountEntry(base: string, { path, access, isFile, cover }: Entry): string[] {
  const target = quote(base + path);
  if (access === 'hidden') {
    return isFile ? [`mount --bind /dev/null ${target}`] : [`mount -t tmpfs -o size=1m,mode=755 hidden ${target}`];
  }
  // Below another bound folder the mount point is there already, and may be read-only.
  const made = cover !== undefined && cover.access !== 'hidden';
  if (isFile) {
    const touch = made ? [] : [`mkdir -p "$(dirname ${target})"`, `: > ${target}`];
    return [...touch, `mount --bind ${quote(path)} ${target}`];
  }
  return [...(made ? [] : [`mkdir -p ${target}`]), `mount --rbind ${quote(path)} ${target}`];
}

/** Shell script that builds the file tree below the folder `base`, where an empty tmpfs is mounted. */
export function buildScript(base: string, entries: Entry[], probe: Probe): string {
  const at = (path: string) => quote(base + path);
  return [
    `mkdir -p ${at('/proc')} ${at('/dev')} ${at('/tmp')} ${at('/.host')}`,
    `mount -t tmpfs -o size=${TMP_SIZE},mode=1777 tmp ${at('/tmp')}`,
    `mount --rbind /proc ${at('/proc')}`,
    ...PROC_READ_ONLY.filter((name) => probe(`/proc/${name}`) !== 'missing').map(
      (name) => `mount --bind ${at(`/proc/${name}`)} ${at(`/proc/${name}`)}`,
    ),
    `mount -t tmpfs -o size=64k,mode=755 dev ${at('/dev')}`,
    `mkdir ${at('/dev/shm')}`,
    `mount -t tmpfs -o size=64m,mode=1777 shm ${at('/dev/shm')}`,
    ...DEVICES.filter((name) => probe(`/dev/${name}`) !== 'missing').flatMap((name) => [
      `: > ${at(`/dev/${name}`)}`,
      `mount --bind /dev/${name} ${at(`/dev/${name}`)}`,
    ]),
    `ln -s /proc/self/fd ${at('/dev/fd')}`,
    ...[0, 1, 2].map((fd) => `ln -s /proc/self/fd/${fd} ${at(`/dev/${['stdin', 'stdout', 'stderr'][fd]}`)}`),
    ...entries.flatMap((entry) => mountEntry(base, entry)),
  ].join('\n');
}

interface Mount {
  path: string;
  options: string[];
}

function parseMount(line: string): Mount {
  const fields = line.split(' ');
  const path = (fields[4] ?? '').replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  return { path, options: (fields[5] ?? '').split(',') };
}

/** Flags a mount brings from the host are locked: a remount that leaves one out is refused. */
const LOCKED = ['noexec', 'noatime', 'nodiratime', 'relatime', 'strictatime'] as const;

function isSealed(path: string, entries: Entry[]): boolean {
  if (PROC_READ_ONLY.some((name) => path === `/proc/${name}`)) return true;
  const owner = entries.findLast((entry) => isWithin(path, entry.path));
  return owner !== undefined && owner.access !== 'write';
}

/**
 * Shell script that makes everything read-only that is not writable, each mount below it included, and then makes `base`
 * the root and lets go of the host's. `mountInfo`: /proc/self/mountinfo after the build script.
 */
export function sealScript(base: string, entries: Entry[], mountInfo: string): string {
  const mounts = mountInfo.trim().split('\n').map(parseMount);
  const remounts = mounts
    .filter(({ path }) => isWithin(path, base) && isSealed(path.slice(base.length), entries))
    .map(({ path, options }) => {
      const kept = LOCKED.filter((flag) => options.includes(flag));
      return `mount -o ${['remount,bind,ro,nosuid,nodev', ...kept].join(',')} ${quote(path)}`;
    });
  return [
    ...remounts,
    // No nested user namespace: in one, a program would have every capability again.
    'echo 0 > /proc/sys/user/max_user_namespaces',
    `pivot_root ${quote(base)} ${quote(`${base}/.host`)}`,
    'cd /',
    'umount -l /.host',
    'rmdir /.host',
    'mount -o remount,bind,ro,nosuid,nodev /',
  ].join('\n');
}
