import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from './lock.ts';
import { isExecutable, onPath } from './path-lookup.ts';
import { step, type Progress } from './progress.mjs';

const run = promisify(execFile);
const buildLimitMs = 20 * 60_000;
// -mod=readonly: nothing but what go.sum pins is ever built. No symbols: nobody debugs these, and they are half the size.
const flags = ['-trimpath', '-buildvcs=false', '-mod=readonly', '-ldflags=-s -w'];

/** A program of a Go module whose go.mod pins it exactly and names it with a `tool` line. */
export interface GoTool {
  /** Folder of the go.mod and go.sum. */
  moduleDir: string;
  /** Import path of its main package. */
  package: string;
  /** Name of the binary. */
  name: string;
  /** Cache: the binary is kept in `tools/` below it. */
  toolchainDir: string;
  onProgress?: Progress;
}

/**
 * Path of the binary, built when the cache has none for this go.mod and go.sum. Processes may call it at once.
 * @throws Error with what to do when there is no Go compiler or the modules cannot be had.
 */
export async function ensureGoTool(tool: GoTool): Promise<string> {
  const key = createHash('sha256').update([tool.package, ...flags].join(' '));
  for (const file of ['go.mod', 'go.sum']) key.update(await readFile(join(tool.moduleDir, file)));
  const tools = join(tool.toolchainDir, 'tools');
  const binary = join(tools, `${tool.name}-${key.digest('hex').slice(0, 12)}`);
  if (await isExecutable(binary)) return binary;
  await mkdir(tools, { recursive: true });
  await withLock(`${binary}.lock`, { limitMs: buildLimitMs }, async () => {
    if (await isExecutable(binary)) return;
    const report = tool.onProgress ?? (() => undefined);
    await step(`Building ${tool.name} from Go modules`, report, () => build(tool, `${binary}.part`));
    await rename(`${binary}.part`, binary);
  });
  return binary;
}

async function build(tool: GoTool, output: string): Promise<void> {
  const go = await onPath('go');
  if (go === undefined) {
    throw new Error(`${tool.name} is built from source and there is no Go compiler: install Go (https://go.dev/dl)`);
  }
  const args = ['build', ...flags, '-o', output, tool.package];
  try {
    await run(go, args, { cwd: tool.moduleDir, timeout: buildLimitMs, maxBuffer: 16 * 1024 * 1024 });
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
    throw new Error(
      `go build of ${tool.name} in ${tool.moduleDir} failed; it needs the Go version its go.mod names and a Go module proxy (GOPROXY). It said:\n${stderr.trim().split('\n').slice(-6).join('\n')}`,
      { cause: error },
    );
  }
}
