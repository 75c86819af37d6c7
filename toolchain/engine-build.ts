import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { engineVersion } from './engine-find.ts';
import { onPath } from './path-lookup.ts';
import { step, type Progress } from './progress.mjs';
import { SetupError } from './setup-error.ts';

const run = promisify(execFile);
const buildLimitMs = 25 * 60_000;

/** What `toolchain/pulumi/go.mod` can build. */
export type GoTool = 'pulumi' | 'yaml';

const packages: Record<GoTool, string> = {
  pulumi: 'github.com/pulumi/pulumi/pkg/v3/cmd/pulumi',
  yaml: 'github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml',
};

/**
 * Builds tools from Go modules into `dir`; about five minutes on two cores with nothing cached.
 * @throws SetupError with what to install when there is no Go compiler or the modules cannot be had.
 */
export async function buildTools(tools: GoTool[], dir: string, onProgress: Progress): Promise<void> {
  const go = await onPath('go');
  if (go === undefined) {
    throw new SetupError(
      `The Pulumi engine ${engineVersion} is neither on PATH nor could it be downloaded, and there is no Go compiler to build it: install Go (https://go.dev/dl), or set PLUMBLINE_PULUMI to a pulumi ${engineVersion}`,
    );
  }
  const linkerFlags = `-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${engineVersion}`;
  const args = ['build', '-trimpath', '-buildvcs=false', '-ldflags', linkerFlags, '-o', `${resolve(dir)}/`];
  const label = `Building ${tools.join(' and ')} from Go modules (about 5 minutes the first time)`;
  await step(label, onProgress, () => build(go, [...args, ...tools.map((tool) => packages[tool])]));
}

async function build(go: string, args: string[]): Promise<void> {
  const cwd = join(import.meta.dirname, 'pulumi');
  try {
    await run(go, args, { cwd, timeout: buildLimitMs, maxBuffer: 16 * 1024 * 1024 });
  } catch (error) {
    const said =
      error instanceof Error && 'stderr' in error ? String(error.stderr).trim().split('\n').slice(-6).join('\n') : '';
    throw new SetupError(
      `go build in toolchain/pulumi failed; it needs Go 1.26 or newer and a Go module proxy (GOPROXY). It said:\n${said || String(error)}`,
      { cause: error },
    );
  }
}
