import { join } from 'node:path';
import { SemVer } from 'semver';
import { engineVersion, versionOf } from './engine-find.ts';
import { step, type Progress } from './progress.mjs';

const installer = 'https://get.pulumi.com/install.sh';
const probeLimitMs = 5000;
const installLimitMs = 10 * 60_000;

/**
 * Runs Pulumi's own installer at the pinned version into `root`.
 * @returns the binary, or undefined (told to `onProgress`) where the network refuses; that takes 5 s at most.
 */
export async function installOfficial(root: string, onProgress: Progress): Promise<string | undefined> {
  try {
    // The installer waits for minutes on a network that drops packets: ask first whether it can be reached.
    const answer = await fetch(installer, { method: 'HEAD', signal: AbortSignal.timeout(probeLimitMs) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    await step(`Downloading the Pulumi engine ${engineVersion}`, onProgress, () => install(root));
    const binary = join(root, 'bin', 'pulumi');
    const version = await versionOf(binary);
    if (version !== engineVersion) throw new Error(`it installed version ${version}`);
    return binary;
  } catch (error) {
    onProgress(`The official Pulumi installer is of no use here (${reasonOf(error)}); trying the Go modules`, true);
    return undefined;
  }
}

async function install(root: string): Promise<void> {
  // Loaded here only: it takes most of a second, and a cached engine never needs it.
  const { PulumiCommand } = await import('@pulumi/pulumi/automation/index.js');
  const limit = new Promise<never>((_, reject) => {
    const tooLong = () => reject(new Error(`no end after ${installLimitMs / 60_000} minutes`));
    setTimeout(tooLong, installLimitMs).unref();
  });
  await Promise.race([
    PulumiCommand.install({ root, version: new SemVer(engineVersion), skipVersionCheck: true }),
    limit,
  ]);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
