import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { inject } from 'vitest';
import { checkIsolation } from '#core/engine/isolation.ts';
import { createPulumiEngine } from '#core/engine/pulumi.ts';
import { scrubResults } from '#core/engine/scrubbed.ts';
import { ensureEngine } from '../../toolchain/engine.ts';
import { startTestPlumbline, type TestOptions, type TestPlumbline } from '../harness/plumbline.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..');
/** Runs of the real engine take seconds, many on a busy machine. */
const WAIT_MS = 120_000;
const MAX_OUTPUT_BYTES = 64 * 1024;

/** A whole Plumbline in this process, with the real engine as a worker makes it; programs use the checkout's packages. */
export async function startOnRealEngine(options: TestOptions = {}): Promise<TestPlumbline> {
  const plumbline = await startTestPlumbline({ waitMs: WAIT_MS, ...options });
  const { deps } = plumbline;
  const parts = await ensureEngine({ toolchainDir: inject('toolchainDir'), onProgress: () => undefined });
  const pulumi = createPulumiEngine({
    engineDir: parts.dir,
    nodePath: parts.node,
    isolation: (await checkIsolation()) === undefined ? 'namespaces' : 'none',
    hiddenDirs: [deps.config.dataDir],
    maxOutputBytes: MAX_OUTPUT_BYTES,
    scrubber: deps.scrubber,
    ownEnvironment: {},
  });
  deps.engine = scrubResults(pulumi, deps.scrubber);
  deps.dependencies = async () => ({
    digest: 'checkout',
    nodeModules: join(CHECKOUT, 'node_modules'),
    plugins: undefined,
  });
  return plumbline;
}

/** The files of a program in this repository: path → text. */
export async function programFiles(folder: string): Promise<Record<string, string>> {
  const root = join(CHECKOUT, folder);
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('node_modules'))
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(paths.map(async (path) => [relative(root, path), await readFile(path, 'utf8')] as const)),
  );
}
