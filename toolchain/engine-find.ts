import { execFile } from 'node:child_process';
import { copyFile, link, realpath } from 'node:fs/promises';
import { promisify } from 'node:util';
import { onPath } from './path-lookup.ts';
import type { Progress } from './progress.mjs';

const run = promisify(execFile);

/** The one engine version of an installation; `toolchain/pulumi/go.mod` requires the same. */
export const engineVersion = '3.259.0';

/** The binary named by the user or found on PATH whose version is exactly ours; says so when another one is passed over. */
export async function firstMatching(override: string, onProgress: Progress): Promise<string | undefined> {
  const candidates = [override === '' ? undefined : override, await onPath('pulumi')];
  for (const file of candidates) {
    if (file === undefined) continue;
    const version = await versionOf(file);
    if (version === engineVersion) return await realpath(file);
    onProgress(`${file} is pulumi ${version}, Plumbline needs exactly ${engineVersion}: passed over`, true);
  }
  return undefined;
}

/** Version a pulumi binary tells, without the `v`; `unknown` when it does not run. */
export async function versionOf(file: string): Promise<string> {
  const options = { timeout: 20_000, env: { ...process.env, PULUMI_SKIP_UPDATE_CHECK: 'true' } };
  const { stdout } = await run(file, ['version'], options).catch(() => ({ stdout: '' }));
  return stdout.trim().replace(/^v/, '') || 'unknown';
}

/**
 * A hard link where possible, else a copy; never a symbolic link: the engine follows those when it looks for what lies
 * beside it (`os.Executable` and `EvalSymlinks` in Pulumi's sdk/go/common/workspace/plugins.go).
 */
export async function placeFile(from: string, to: string): Promise<void> {
  await link(await realpath(from), to).catch(() => copyFile(from, to));
}
