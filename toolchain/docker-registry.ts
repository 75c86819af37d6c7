import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from './lock.ts';
import { isExecutable } from './path-lookup.ts';
import { step, type Progress } from './progress.mjs';
import { SetupError } from './setup-error.ts';

const run = promisify(execFile);
const limitMs = 180_000;
const version = '2.8.2+ds1-1';
/** SHA-256 of the package for amd64. A version is never built anew under the same name. */
const digest = 'a9bd06c0e006854608f8469b4371743f40604ad90975532bb3b7ceeb72fe2913';

async function isDebian12(): Promise<boolean> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return process.arch === 'x64' && /^ID=debian$/m.test(release) && /^VERSION_ID="12"$/m.test(release);
}

/**
 * Debian's own docker-registry 2.8, the oldest registry in wide use: its package is downloaded and taken apart in the
 * cache below `toolchainDir`; nothing is installed. Undefined on anything but Debian 12 for amd64.
 * @throws SetupError when Debian's packages cannot be reached
 */
export async function ensureDockerRegistry(toolchainDir: string, onProgress: Progress): Promise<string | undefined> {
  const tools = join(toolchainDir, 'tools');
  const binary = join(tools, `docker-registry-${version}`);
  if (await isExecutable(binary)) return binary;
  if (!(await isDebian12())) return undefined;
  await mkdir(tools, { recursive: true });
  await withLock(`${binary}.lock`, { limitMs }, async () => {
    if (await isExecutable(binary)) return;
    await step('Downloading docker-registry from Debian', onProgress, () => download(binary));
  });
  return binary;
}

async function download(binary: string): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-deb-'));
  const options = { cwd: dir, timeout: limitMs };
  const get = () => run('apt-get', ['download', `docker-registry=${version}`], options);
  try {
    // Without package lists, which images often lack, apt knows no package.
    await get().catch(() => run('apt-get', ['update'], options).then(get));
    const [file = ''] = (await readdir(dir)).filter((name) => name.endsWith('.deb'));
    const found = createHash('sha256')
      .update(await readFile(join(dir, file)))
      .digest('hex');
    if (found !== digest) throw new Error(`its package has the digest ${found} instead of ${digest}`);
    await run('dpkg-deb', ['-x', file, 'files'], options);
    await copyFile(join(dir, 'files/usr/bin/docker-registry'), `${binary}.part`);
    await rename(`${binary}.part`, binary);
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw new SetupError(`docker-registry ${version} could not be had from Debian: ${said.split('\n').at(-1)}`, {
      cause: error,
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
